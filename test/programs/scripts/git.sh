# git init, add, commit, log, clone, gc, fsck.
command -v git >/dev/null || { echo "skip: no git"; exit 0; }
export HOME GIT_AUTHOR_DATE=2020-01-01T00:00:00Z GIT_COMMITTER_DATE=2020-01-01T00:00:00Z GIT_CONFIG_NOSYSTEM=1
HOME=$(mktemp -d)
cd "$HOME" || exit 1
git init -q -b main one && cd one || exit 1
git config user.email a@example.org
git config user.name name
for i in $(seq 10); do
    seq "$i" $((i * 50)) >"file$i"
    git add .
    git commit -qm "commit $i"
done
git log --oneline
git clone -q . ../two
git gc -q
git fsck 2>&1
git -C ../two log --format=%H | md5sum
rm -rf "$HOME"
