# What shell scripts live on: pipes, descriptors, traps, jobs.
# needs: bash
# limit: 60
echo "== pipes"
seq 1 2000 | grep 7 | sort -r | head -n 3
echo "${PIPESTATUS[*]}"
false | true | false
echo "${PIPESTATUS[*]}"
yes | head -n 1
echo "${PIPESTATUS[*]}"
head -c 8388608 /dev/zero | tr '\0' x | sha256sum

echo "== here-documents"
name=world
cat <<EOF
hello $name, $((6 * 7))
EOF
cat <<-'EOF'
	as it is: $name
	EOF
tr a-z A-Z <<<"a string"

echo "== traps"
bash -c 'trap "echo end" EXIT; trap "echo usr1" USR1; kill -USR1 $$; echo between; kill -USR1 $$'
bash -c 'trap "echo term; exit 7" TERM; kill -TERM $$; echo never'
echo $?
bash -c 'trap "" TERM; kill -TERM $$; echo still here'
bash -c 'kill -KILL $$' 2>/dev/null
echo $?
bash -c 'ulimit -c 0; kill -SEGV $$' 2>/dev/null
echo $?

echo "== jobs"
for i in 1 2 3 4 5; do (sleep 0.0$i; exit $i) & pids[i]=$!; done
for i in 5 3 1 2 4; do wait "${pids[i]}"; echo "$i $?"; done
sleep 60 &
kill $!
wait $! 2>/dev/null
echo $?
bash -c 'set -m; sleep 60 & kill -STOP %1; sleep 0.1; jobs -s | wc -l; kill -CONT %1; kill %1; wait %1; echo $?' 2>/dev/null
wait -n 2>/dev/null
echo "none left: $?"

echo "== descriptors"
exec 7>file 8<file
echo one >&7
read -r line <&8
echo "read $line"
exec 7>&- 8<&-
echo two >>file
cat file
{ echo out; echo err >&2; } 2>&1 >/dev/null
bash -c 'echo closed >&5' 2>/dev/null
echo $?
ls /proc/self/fd | wc -l

echo "== substitution"
diff <(seq 1 5) <(seq 2 6)
paste <(seq 3) <(seq 4 6)
echo "$(echo "$(echo nested)")"

echo "== fifo"
mkfifo fifo
(for i in 1 2 3; do echo "line $i"; done >fifo) &
cat fifo
wait
coproc tr a-z A-Z
echo shout >&"${COPROC[1]}"
eval "exec ${COPROC[1]}>&-"
cat <&"${COPROC[0]}"
wait

echo "== statuses"
nonexistent-command 2>/dev/null
echo $?
/etc/passwd 2>/dev/null
echo $?
(exit 300)
echo $?
timeout 0.2 sleep 60
echo $?

echo "== files"
umask 027
mkdir -p d/e
touch d/e/f
chmod 4751 d/e/f
ln -s e d/link
ln d/e/f d/hard
stat -c '%n %a %F %h' d d/e d/e/f d/link d/hard
readlink -f d/link/f | sed "s#$PWD##"
mv d/e/f d/e/g && ls -R d
[ -e d/link/g ] && rm -r d && ls

echo "== limits"
ulimit -n 64
ulimit -n
bash -c 'ulimit -f 1; head -c 4096 /dev/zero >big; echo $?' 2>/dev/null
ulimit -u >/dev/null && echo set
nice -n 5 nice
nproc

echo "== fork"
n=0
for i in $(seq 100); do (exit 3) || n=$((n + $?)); done
echo $n
fact() { if [ "$1" -le 1 ]; then echo 1; else echo $(($1 * $(fact $(($1 - 1))))); fi; }
fact 15
seq 40 | xargs -P 4 -n 5 echo | tr ' ' '\n' | sort -n | sha256sum
