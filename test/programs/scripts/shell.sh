# A shell's own work: pipes, here-documents, traps, background jobs, wait.
trap 'echo got INT' INT
trap 'echo leaving' EXIT
kill -INT $$
cat <<X | tr a-z A-Z | sort -r
one
two
X
(sleep 0.1; echo background) &
wait $!
echo "status $?"
set -o pipefail
false | true
echo "pipefail $?"
for i in $(seq 30); do /bin/true || echo failed; done
file=$(mktemp)
echo contents >"$file"
exec 5<"$file"
rm "$file"
read -r line <&5
echo "$line"
diff <(echo a) <(echo b)
echo "diff $?"
