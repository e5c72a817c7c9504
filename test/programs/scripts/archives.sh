# tar, gzip, xz over part of /usr/share.
dir=$(mktemp -d)
cd "$dir" || exit 1
tar cf a.tar --sort=name --mtime=@0 -C /usr/share perl5 2>/dev/null || tar cf a.tar --sort=name --mtime=@0 -C /usr/share doc/bash
tar tf a.tar | sort | md5sum
md5sum <a.tar
gzip -nk a.tar && gzip -dc a.tar.gz | md5sum
xz -0 -k a.tar && xz -dc a.tar.xz | md5sum
mkdir out && tar xf a.tar -C out && find out -type f -exec md5sum {} + | sort | md5sum
rm -rf "$dir"
