# Files of the host: searched, archived, compressed, copied.
# needs: tar gzip xz find grep sed awk sort
# limit: 120
tree=/usr/share/perl5
[ -d "$tree" ] || tree=/usr/share/doc
echo "== find"
find "$tree" -printf '%P %y %s %m %U %T@ %n\n' | sort | sha256sum
find "$tree" -type f -name '*.p[lm]' -size +8k | wc -l
find "$tree" -type f -newer /etc/passwd | wc -l
find /usr/lib/x86_64-linux-gnu -maxdepth 1 -type l -printf '%f %l\n' | sort | sha256sum

echo "== grep"
grep -rn --include='*.pm' 'sub new' "$tree" | sort | sha256sum
grep -rlE '^use (strict|warnings);' "$tree" | wc -l
grep -c . /etc/passwd

echo "== text"
find "$tree" -name '*.pm' -print0 | sort -z | xargs -0 cat >all
wc all
sed -E 's/(sub) ([a-z_]+)/\2 \1/g; /^#/d' all | sha256sum
awk '{ for (i = 1; i <= NF; i++) n[length($i)]++ } END { for (l in n) print l, n[l] }' all | sort -n | head -n 12
tr -cs 'A-Za-z' '\n' <all | sort | uniq -c | sort -k1,1nr -k2 | head -n 8
sort -S 1M -T . all | sha256sum
cut -c1-20 all | rev | md5sum
split -b 300000 all part. && cat part.* | cmp - all && ls part.* | wc -l

echo "== tar"
tar --sort=name -cf tree.tar -C "$tree" .
sha256sum tree.tar
mkdir copy && tar -xpf tree.tar -C copy
diff -r "$tree" copy && find copy \( -type d -printf '%P %y %m\n' -o -printf '%P %y %s %m\n' \) | sort | sha256sum
tar -tf tree.tar | wc -l

echo "== compress"
gzip -kn tree.tar && sha256sum tree.tar.gz
gzip -dc tree.tar.gz | cmp - tree.tar && echo same
head -c 2000000 tree.tar >some
xz -k -1 -T1 some && xz -dc some.xz | cmp - some && sha256sum some.xz
xz -k -0 -T2 --block-size=500000 -c some | xz -dc | cmp - some && echo threads

echo "== copy"
cp -a "$tree" again && diff -r "$tree" again && echo same
find again -type f -exec touch -d @1000000000 {} +
find again -type f -printf '%T@\n' | sort -u
dd if=tree.tar of=dd.out bs=64k iflag=fullblock 2>/dev/null && cmp dd.out tree.tar && echo dd
truncate -s 1M sparse && printf end | dd of=sparse bs=1 seek=900000 conv=notrunc 2>/dev/null
sha256sum sparse
rm -rf again copy && ls | sort
