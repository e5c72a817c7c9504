# A Debian root file system as an OCI bundle; natively it is entered with chroot.
# driver: yes
# as: root
# needs: mmdebstrap chroot
# limit: 400
root=$CACHE/debian-root
if [ ! -e "$root/.made" ]; then
    rm -rf "$root"
    mmdebstrap --quiet --variant=minbase --mode=root bookworm "$root" >&2 || exit 1
    touch "$root/.made"
fi
cat >script <<'EOF'
echo "== system"
. /etc/os-release; echo "$ID $VERSION_ID"
id; pwd; hostname | wc -l
ls / | grep -v dev | sort | tr '\n' ' '; echo
echo "== packages"
dpkg -l | tail -n +6 | awk '{ print $1, $2, $3 }' | sha256sum
dpkg --verify; echo $?
apt-config dump | sha256sum
dpkg -L bash | sort | sha256sum
echo "== files"
find /bin/ /lib/ /etc /var/lib -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum
find /usr /etc -printf '%p %m %U %G %y %s\n' | grep -v ' d ' | sort | sha256sum
echo "== users"
su -s /bin/sh nobody -c 'id; cat /etc/shadow; touch /etc/x' 2>&1
chroot / id -u
useradd -m -u 1234 guest && su guest -c 'cd; id; pwd; touch f; stat -c "%U %a" f; umask'
passwd -S guest | cut -d' ' -f1,2
echo "== write"
echo x >/etc/new && cat /etc/new && rm /etc/new
perl -e 'print join(" ", sort grep { -d "/$_" } qw(usr etc var)), "\n"'
tar -cf - /etc/apt 2>/dev/null | tar -tf - | sort | sha256sum
userdel -r guest 2>/dev/null; echo $?
EOF
if [ $# -eq 0 ]; then
    cp -a "$root" "$PWD/root"
    env -i PATH="$PATH" HOME=/root LC_ALL=C.UTF-8 chroot "$PWD/root" /bin/bash -s <script
    exit
fi
. "$(dirname "$0")/lib/bundle"
bundle "$root" '"/bin/bash", "-s"'
"$1" run --bundle "$PWD" "rootfs-$$" <script
