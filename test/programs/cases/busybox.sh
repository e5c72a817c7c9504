# A root file system of one static program.
# driver: yes
# needs: busybox
# limit: 60
mkdir -p root/bin root/tmp root/etc root/proc root/sys root/dev
: >root/dev/null # A job in the background reads from it, natively as well.
cp "$(command -v busybox)" root/bin/busybox
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -sf busybox "root/bin/$applet"; done
echo 'root:x:0:0:root:/:/bin/sh' >root/etc/passwd
cat >script <<'EOF'
echo "== shell"
for i in 1 2 3; do echo $i; done | tac
echo $((1 << 20)); set -- a b c; echo $#
(exit 4); echo $?
sh -c 'kill -9 $$'; echo $?
echo "== files"
cd /tmp; mkdir -p a/b; seq 100 >a/b/f; ln -s b a/l; cp -a a c; diff -r a c && echo same
tar -cf t.tar a && tar -tf t.tar | sort; gzip t.tar && gunzip t.tar.gz && tar -xOf t.tar a/b/f | md5sum
find /bin -type l | wc -l; grep -c 1 a/b/f; sed -n 5p a/b/f; awk '{ s += $1 } END { print s }' a/b/f; sort -rn a/b/f | head -n 2
echo "== processes"
sleep 60 & sleep 0.2; kill $!; wait $!; echo $?
yes | head -n 2; seq 30 | xargs -n 10 echo
timeout 1 sleep 60; echo $?
ls /; cat /etc/passwd
EOF
chmod -R a+rX root
if [ $# -eq 0 ]; then
    # Without root there is no chroot but in a user namespace.
    into=(chroot)
    [ "$(id -u)" = 0 ] || into=(unshare --map-root-user --user chroot)
    env -i PATH=/bin:/sbin:/usr/bin:/usr/sbin "${into[@]}" root /bin/sh -s <script
    exit
fi
. "$(dirname "$0")/lib/bundle"
bundle "$PWD/root" '"/bin/sh", "-s"'
XDG_RUNTIME_DIR=$PWD "$1" run --bundle "$PWD" "busybox-$$" <script
