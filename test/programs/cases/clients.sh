# Programs that change users or make containers, for a user with subordinate ids: shadow, util-linux, sudo, buildah, podman.
# The user stands in a copy of /etc, in mount and process id namespaces of the case's own, so that nothing is left.
# as: root
# needs: unshare setpriv newuidmap newgidmap su sudo bwrap buildah podman
# limit: 240
if [ "${1:-}" != inside ]; then
    exec unshare --mount --pid --fork --kill-child --mount-proc bash "$0" inside
fi
mount --make-rprivate /
cp -a /etc etc
mount --bind etc /etc
for directory in /run /var/lib/containers /var/lib/sudo /var/mail; do
    [ ! -d "$directory" ] || mount -t tmpfs -o mode=755 none "$directory"
done
chmod 755 . etc
echo 'tester:*:4321:4321::/home/tester:/bin/sh' >>/etc/passwd
echo 'tester:x:4321:' >>/etc/group
echo 'helpers:x:4400:tester' >>/etc/group
echo 'tester:200000:65536' >/etc/subuid
echo 'tester:300000:65536' >/etc/subgid
home=$PWD/home
sed -i "s|/home/tester|$home|" /etc/passwd
install -d -o 4321 -g 4321 home home/.config home/.config/containers home/work
install -d -m 700 -o 4321 -g 4321 /run/user-4321
cat >home/.config/containers/storage.conf <<'END'
[storage]
driver = "vfs"
END
cat >home/.config/containers/containers.conf <<'END'
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
END
# tester COMMAND...: runs it as the user, in the user's directory.
tester() {
    (cd home/work && env HOME="$home" XDG_RUNTIME_DIR=/run/user-4321 USER=tester LOGNAME=tester \
        setpriv --reuid=4321 --regid=4321 --init-groups "$@")
}

echo "== user"
tester id
tester sh -c 'cd; ls -d work; cat /etc/shadow' 2>&1
tester unshare -Ur id
tester setpriv --dump | grep -E '^(uid|gid|Supp|no_new)'

echo "== maps"
mkfifo -m 666 home/work/ready home/work/go
# Lets a process without maps wait, and runs what is given for it with PID in its place.
mapping() {
    tester bash -c '
        unshare -U sh -c "echo >ready; read -r _ <go; cat /proc/self/uid_map /proc/self/gid_map; id; cat /proc/self/setgroups" &
        read -r _ <ready
        for command; do
            ${command//PID/$!} 2>&1
            echo "status $?"
        done
        echo >go
        wait' maps "$@" | sed 's/uid range.*not allowed/range not allowed/; s/\[[0-9]*\]//'
}
mapping 'newuidmap PID 0 4321 1 1 200000 65536' 'newgidmap PID 0 4321 1 1 300000 65536'
mapping 'newuidmap PID 0 4321 1' 'newgidmap PID 0 4321 1'
mapping 'newuidmap PID 0 200000 100 100 200500 7' 'newuidmap PID 0 4321 1' 'newgidmap PID 0 300000 65536'
mapping 'newuidmap PID 0 0 1' 'newgidmap PID 0 0 1'
mapping 'newuidmap PID 0 199999 2' 'newuidmap PID 0 200000 65537' 'newgidmap PID 0 200000 1'
mapping 'newuidmap PID 0 4322 1' 'newuidmap PID 0 4321' 'newuidmap PID' 'newgidmap PID 0 4400 1'
tester newuidmap 1 0 4321 1 2>&1 | sed 's/[0-9]\{2,\}/N/g'
tester newuidmap 999999999 0 4321 1 2>&1 | head -n 1

echo "== automatic"
tester unshare --map-auto -Ur cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups
tester unshare --map-auto -Ur sh -c '
    touch own; install -o 5 -g 6 /dev/null five; stat -c "%n %u %g" own five
    setpriv --reuid 7 --regid 8 --groups 9,10 id
    chown 65537 own; echo $?; chown 65536 own; echo $?
    install -o 0 -g 0 -m 4755 /bin/true suid; setpriv --reuid 7 --clear-groups ./suid; echo $?' 2>&1
stat -c '%n %u %g %a' home/work/own home/work/five home/work/suid
tester unshare --map-auto -Ur sh -c 'rm -f own five suid; unshare -U --map-users=0,100,50 --map-groups=0,200,50 cat /proc/self/uid_map' 2>&1
tester unshare --map-auto -Urmpf --mount-proc ps -eo pid,uid,comm
tester unshare --map-auto -U --setuid 3 --setgid 4 --map-current-user id 2>&1

echo "== su"
su tester -c 'id; pwd | grep -c /'
su - tester -c 'pwd; echo $HOME $LOGNAME' | sed "s|$PWD|.|g"
su -s /bin/sh nobody -c 'id; touch /etc/x' 2>&1
su tester -c 'su -c id </dev/null' 2>&1; echo $?
su nosuchuser -c id 2>&1; echo $?
runuser -u tester -- id
runuser -u tester -g helpers -- id -g
tester runuser -u root id 2>&1
tester chfn -f x 2>&1 </dev/null | head -n 1

echo "== sudo"
sudo -u tester id
sudo -u '#1234' id 2>&1
sudo -u tester -g helpers id -g
tester sudo -n id 2>&1; echo $?
echo 'tester ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/tester
chmod 440 /etc/sudoers.d/tester
tester sudo -n id
tester sudo -n -u nobody sh -c 'id; echo $SUDO_USER $SUDO_UID'
tester sudo -n sh -c 'grep -E "^(CapInh|CapAmb|NoNewPrivs)" /proc/self/status'
[ "$(tester sudo -n grep ^CapEff /proc/self/status)" = "$(grep ^CapEff /proc/self/status)" ] && echo "as capable as root"
tester sudo -n chown 7:7 /etc/sudoers.d/tester; stat -c '%u %g' /etc/sudoers.d/tester
tester sudo -n id 2>&1 | grep -o 'owned by uid 7'
tester setpriv --no-new-privs sudo -n id 2>&1 | head -n 1

echo "== bwrap"
tester bwrap --unshare-all --ro-bind / / --proc /proc --dev /dev id
tester bwrap --unshare-all --uid 0 --gid 0 --ro-bind / / --proc /proc --dev /dev sh -c 'id; cat /proc/self/uid_map'
tester sudo -n true 2>/dev/null; tester bwrap --ro-bind / / sudo -n id 2>&1 | head -n 1

echo "== buildah"
tester buildah unshare cat /proc/self/uid_map /proc/self/gid_map
tester buildah unshare sh -c 'id; cat /proc/self/setgroups; touch f; chown 5:5 f; stat -c "%u %g" f'; stat -c '%u %g' home/work/f
tester buildah unshare sh -c '
    c=$(buildah from scratch) && buildah copy -q --chown 7:8 "$c" /etc/hosts /f >copied && test -s copied
    m=$(buildah mount "$c"); stat -c "%u %g %a" "$m/f"; cmp "$m/f" /etc/hosts && echo same
    buildah umount "$c" >unmounted && buildah rm "$c" >removed && echo removed'
tester buildah containers -q | wc -l

echo "== podman"
tester podman ps
tester podman ps
test -s /run/user-4321/libpod/tmp/pause.pid && echo "it is kept by a process"
[ "$(tester podman unshare readlink /proc/self/ns/user)" = "$(tester podman unshare readlink /proc/self/ns/user)" ] &&
    echo "and joined again"
tester podman unshare cat /proc/self/uid_map /proc/self/gid_map
tester podman info --format '{{.Host.Security.Rootless}} {{.Store.GraphDriverName}} {{.Host.IDMappings.UIDMap}}'
tester podman volume create v && tester podman volume ls -q
tester podman unshare chown 9:9 "$home/.local/share/containers/storage/volumes/v/_data"
stat -c '%u %g' home/.local/share/containers/storage/volumes/v/_data
tester podman system migrate
podman --root "$PWD/store" --runroot /run/store --storage-driver vfs --cgroup-manager cgroupfs ps
