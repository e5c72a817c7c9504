# Programs that change who they are: set-user-ID ones, capabilities, and those that map ids.
# needs: su setpriv capsh newuidmap setcap getcap unshare

section() { echo "== $1"; }

section su
su -s /bin/sh -c 'id -un; id -Gn' nobody < /dev/null 2>&1
echo "status $?"

section set-id
ls -ln "$(command -v su)" | cut -c1-20
grep -E '^(Uid|Gid|Cap|NoNewPrivs)' /proc/self/status

section no-new-privs
setpriv --no-new-privs su -s /bin/sh -c id nobody < /dev/null > /dev/null 2>&1
echo "status $?"
setpriv --no-new-privs capsh --print | grep no-new

section ambient
setpriv --inh-caps +net_raw --ambient-caps +net_raw grep ^Cap /proc/self/status 2>&1
echo "status $?"

section capsh
capsh --print 2>&1 | grep -v ^Guessed
capsh --has-p=cap_net_raw 2>&1
echo "status $?"

section newuidmap
unshare --user sh -c 'newuidmap $$ 0 1 1' 2>&1 | sed 's/process [0-9]*/process/'
newuidmap 2>&1 | head -1

section user-namespace
unshare --user --map-root-user sh -c 'id -u; id -g; cat /proc/self/setgroups; grep ^CapEff /proc/self/status'
