# find, grep, sed, awk, sort over /usr/share/doc.
find /usr/share/doc -maxdepth 2 | LC_ALL=C sort | md5sum
find /usr/share/doc -type f -size -20k | LC_ALL=C sort | head -n 400 | xargs cat | md5sum
grep -rlE 'GNU|Apache' /usr/share/doc/*/copyright | LC_ALL=C sort | md5sum
sed -n 's/^\([a-z]*\):.*:\([^:]*\)$/\1 \2/p' /etc/passwd
awk -F: '{n[$NF]++} END {for (s in n) print s, n[s]}' /etc/passwd | LC_ALL=C sort
