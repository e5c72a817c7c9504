# Access control lists as people set and read them, alone and with what copies, archives and moves files.
# needs: setfacl getfacl tar rsync
uid=$(id -u) gid=$(id -g)
named() { sed "s/\b$uid\b/UID/g; s/\b$gid\b/GID/g"; }
# Lists without names, which every machine has others of.
lists() { getfacl -n "$@" 2>&1 | named; }
# The order of names in a directory is nobody's business.
trees() { find "$@" ! -type l | sort | getfacl -n - 2>&1 | named; }

echo "== set"
touch f; chmod 640 f
lists f
setfacl -m u:4321:rw,g:5432:r f; lists f
ls -l f | cut -c1-11
setfacl -m m::r f; lists f
setfacl -m u:4321:rwx f; lists f
setfacl -n -m u:77:rwx f; lists f
setfacl -x u:4321 f; lists f
setfacl -b f; lists f; ls -l f | cut -c1-11
setfacl -m u:4321:rw f; chmod 604 f; lists f; chmod 664 f; lists f

echo "== refused"
setfacl -m d:u:1:r f; echo $?
setfacl -m u::rwx,g::r,o::-,m::- f; lists f
setfacl --set u::rw,u:1:r,g::r,o::- --no-mask f 2>&1; echo $?
ln -s f l; setfacl -m u:7:r l; lists l f
setfacl -m u:1:r /proc/self/status 2>&1; echo $?
setfacl -m u:1:q f 2>&1; echo $?

echo "== default"
mkdir d; chmod 750 d
setfacl -d -m u:4321:rwx,g:5432:rx,o::- d; lists d
(umask 077; touch d/f; mkdir d/e; cp /bin/true d/true; ln -s f d/l; mkfifo d/p); lists d/f d/e d/true d/p
mkdir -m 711 d/m; lists d/m
setfacl -k d/e; lists d/e; touch d/e/f; lists d/e/f
setfacl -R -m g:6543:rX d; trees d

echo "== copy"
cp -p d/f copy; lists copy
cp d/f plain; lists plain
mkdir to; cp -a d to/; trees to/d
mv d/f moved; lists moved
tar --acls -cf a.tar d; mkdir un; tar --acls -xf a.tar -C un; trees un
rsync -aA d/ synced; trees synced
getfacl -R -n d >saved; setfacl -R -b d; setfacl --restore=saved; trees d
sed -i s/x/y/ copy; lists copy

echo "== inside"
unshare -Ur sh -c 'touch g; setfacl -m u:0:rw g; getfacl -n g; setfacl -m u:1:rw g; getfacl -n f' 2>&1
lists g
