# What people type about namespaces: util-linux, libcap and bubblewrap, each with this user's own ids only.
# needs: unshare nsenter lsns setpriv capsh bwrap ps
# limit: 120
uid=$(id -u) gid=$(id -g)
# The two ids of whoever runs this, which differ between users, by name.
named() { sed "s/\b$uid\b/UID/g; s/\b$gid\b/GID/g"; }

echo "== unshare"
unshare -Ur id
unshare -U id
unshare -Uc id | named
unshare -Ur cat /proc/self/uid_map /proc/self/gid_map | named
unshare -Ur cat /proc/self/setgroups
unshare -U cat /proc/self/uid_map /proc/self/setgroups
unshare --map-user=7 --map-group=8 id
unshare -Ur sh -c 'unshare -Ur sh -c "unshare -Ur id"'
unshare -Ur sh -c 'touch f; stat -c "%u %g" f'; stat -c '%u %g' f | named
unshare -Ur chown 1:1 f 2>&1
unshare -Ur sh -c 'echo 0 0 1 >/proc/self/uid_map' 2>&1

echo "== processes"
unshare -Urmpf --mount-proc ps -eo pid,ppid,uid,comm
unshare -Urmpf --mount-proc sh -c 'sleep 0 & wait; echo $$; readlink /proc/self; set -- /proc/[0-9]*; echo $#'
unshare -Urpf --kill-child sh -c 'exit 7'; echo $?
unshare -Urpf sh -c 'kill -KILL $$; echo alive'; echo $?
unshare -Urmpf --mount-proc sh -c 'sleep 100 & exec sh -c "kill -TERM -1; wait; echo all gone"'

echo "== names"
unshare -Uru sh -c 'hostname inside; hostname; uname -n; cat /proc/sys/kernel/hostname'
hostname | grep -c '^inside$'
unshare -Ur hostname inside 2>&1

echo "== mounts"
mkdir -p d
unshare -Urm sh -c 'mount -t tmpfs none d; touch d/f; ls d; findmnt -no FSTYPE d; stat -c "%u %g %a" d; umount d; ls d'
unshare -Urm sh -c 'mount -t tmpfs -o ro,nosuid none d; unshare -Urm sh -c "umount d; mount -o remount,bind,rw,suid d" 2>&1' |
    sed "s|$PWD|.|g"
unshare -Urm sh -c 'mount --bind /etc d; cmp /etc/passwd d/passwd && echo same'
unshare -Urm sh -c 'mount -t tmpfs none d; mkdir d/old; cd d; pivot_root . old; umount -l /old; echo /*'
unshare -Urm mount -t suchfs none d 2>&1 | sed "s|$PWD|.|g" | head -n 1
ls d
unshare -Urmn sh -c 'mount -t sysfs sys d && ls d/class/net'

echo "== network"
unshare -Urn cat /proc/net/dev | sed 1,2d | grep -o '^ *lo:'
unshare -Urn sh -c 'ls /proc/sys/net/ipv4/conf 2>&1' | tr '\n' ' '; echo

echo "== time"
unshare -UrT --boottime 86400 --monotonic 3600 sh -c '
    cat /proc/self/timens_offsets
    awk "{ exit !(\$1 > 86400) }" /proc/uptime && echo later' | tr -s ' '

echo "== kept"
# A namespace outlives its processes in a file; only a mount namespace around it can take the mount.
unshare -Urm sh -c '
    touch ns uts
    unshare --user=ns --uts=uts -m --map-root-user sh -c "hostname kept" 2>&1
    nsenter --user=ns --uts=uts --preserve-credentials sh -c "id; hostname; cat /proc/self/uid_map"
    nsenter --user=ns id 2>&1
    nsenter --uts=uts hostname
    umount ns uts; stat -c "%s" ns uts'

echo "== enter"
mkfifo ready go
unshare -Urmu sh -c 'mount -t tmpfs none d; touch d/inside; hostname other; echo >ready; read _ <go' &
read -r _ <ready
pid=$!
inner=$pid
nsenter -t "$inner" -U -m --preserve-credentials id
nsenter -t "$inner" -U -m --preserve-credentials sh -c "ls $PWD/d"
nsenter -t "$inner" -a --preserve-credentials hostname 2>&1
nsenter -t "$inner" -U -u -m --preserve-credentials hostname
nsenter -t "$inner" -U id 2>&1
nsenter -t "$inner" -U --preserve-credentials grep Cap /proc/self/status
[ "$(nsenter -t "$inner" -U -u --preserve-credentials readlink /proc/self/ns/uts)" = "$(readlink /proc/"$inner"/ns/uts)" ] &&
    echo "the same"
lsns -n -o TYPE -p "$inner" | sort | tr '\n' ' '; echo
lsns -n -t user -o NPROCS,PID -p "$inner" | sed "s/\b$inner\b/PID/" | tr -s ' '
echo >go
wait "$pid"; echo $?

echo "== lsns"
lsns -n -p $$ -o TYPE | sort | tr '\n' ' '; echo
unshare -Urmpf --mount-proc lsns -n -o TYPE,NPROCS | sort | tr -s ' '

echo "== capabilities"
unshare -Ur capsh --print | grep -v '^Guessed'
unshare -U capsh --print | grep -E '^(Current|Securebits)'
unshare -Ur capsh --drop=cap_net_raw --print | grep -E '^(Current|Bounding)'
unshare -Ur capsh --has-p=cap_sys_admin --has-b=cap_sys_admin; echo $?
unshare -Ur capsh --drop=cap_sys_admin -- -c 'unshare -u true' 2>&1
unshare -Ur capsh --inh=cap_net_raw --addamb=cap_net_raw -- -c 'grep Cap /proc/self/status'
unshare -Ur capsh --secbits=0x2f --print | grep -E '^ *secure-'
unshare -Ur --keep-caps capsh --current
unshare -c --keep-caps sh -c 'grep Cap /proc/self/status'
unshare -Ur sh -c 'cp /bin/true t; setcap cap_net_raw+ep t && getcap -n t && ./t; echo $?'; getcap -n t | named; ./t; echo $?
setcap cap_net_raw+p nosuchfile 2>&1 | head -n 1

echo "== setpriv"
unshare -Ur setpriv --dump | grep -v '^Supplementary'
unshare -Ur setpriv --inh-caps +net_raw --ambient-caps +net_raw grep Cap /proc/self/status
unshare -Ur setpriv --bounding-set -sys_admin setpriv --dump | grep -c sys_admin
unshare -Ur setpriv --securebits +noroot,+noroot_locked setpriv --dump | grep -E 'Securebits|Effective|Permitted'
unshare -Ur setpriv --securebits +noroot,+noroot_locked grep CapEff /proc/self/status
unshare -Ur setpriv --no-new-privs setpriv --dump | grep no_new_privs
unshare -Ur setpriv --clear-groups true 2>&1; echo $?
unshare -Ur setpriv --keep-groups --regid 0 --reuid 0 id
unshare -Ur setpriv --reuid 1 true 2>&1; echo $?
unshare -Ur setpriv --pdeathsig TERM sh -c 'grep SigCgt /proc/self/status | wc -l'

echo "== bwrap"
bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev id | named
bwrap --unshare-all --uid 0 --gid 0 --ro-bind / / --proc /proc --dev /dev sh -c 'id; ls /dev; touch /x' 2>&1
bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev sh -c 'ls -d /proc/[0-9]*; echo x >/dev/null; readlink /dev/stdin /dev/fd'
bwrap --unshare-user --unshare-uts --hostname box --ro-bind / / hostname
bwrap --unshare-all --ro-bind /usr /usr --symlink usr/lib /lib --symlink usr/lib64 /lib64 --symlink usr/bin /bin \
    --tmpfs /tmp --dir /var --proc /proc --dev /dev sh -c 'ls /; ls /tmp; cd /tmp; touch f; stat -c %a f'
bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev --cap-drop ALL grep CapEff /proc/self/status
bwrap --unshare-user --ro-bind / / --proc /proc bwrap --unshare-user --ro-bind / / id 2>&1 | named
bwrap --unshare-all --die-with-parent --new-session --as-pid-1 --ro-bind / / --proc /proc --dev /dev sh -c 'echo $$'
