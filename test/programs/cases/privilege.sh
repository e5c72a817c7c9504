# What root gives away, and to whom.
# needs: setpriv setcap getcap su capsh
# as: root

section() { echo "== $1"; }

section file-capabilities
cp "$(command -v grep)" g
chmod 755 . g
setcap cap_net_raw,cap_chown+ep g
getcap g
setpriv --reuid 1000 --regid 1000 --clear-groups ./g ^Cap /proc/self/status
setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs ./g ^CapEff /proc/self/status
setcap cap_net_raw+ip g
setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps +net_raw ./g ^Cap /proc/self/status
echo >> g
getcap g

section set-user-id
cp "$(command -v id)" i
chown 7:8 i
chmod 6755 i
setpriv --reuid 1000 --regid 1000 --clear-groups ./i
setpriv --reuid 1000 --regid 1000 --clear-groups --no-new-privs ./i

section ambient
setpriv --reuid 1000 --regid 1000 --clear-groups --inh-caps +kill --ambient-caps +kill grep ^Cap /proc/self/status
capsh --keep=1 --user=nobody --inh=cap_kill --addamb=cap_kill -- -c 'grep ^Cap /proc/self/status'

section securebits
setpriv --securebits +noroot,+noroot_locked grep ^Cap /proc/self/status
setpriv --bounding-set -all,+kill --inh-caps -all grep ^Cap /proc/self/status

section su
su -s /bin/sh nobody -c 'id; su -s /bin/sh -c id root < /dev/null 2> /dev/null; echo "status $?"'
