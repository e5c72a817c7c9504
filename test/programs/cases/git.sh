# A version control system: many small files, renames, locks, child processes, mmap.
# needs: git
# limit: 120
export GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org GIT_AUTHOR_DATE='1700000000 +0000'
export GIT_COMMITTER_NAME=C GIT_COMMITTER_EMAIL=c@example.org GIT_COMMITTER_DATE='1700000000 +0000'
export GIT_CONFIG_NOSYSTEM=1 GIT_PAGER=cat
echo "== commit"
git init -q -b main repo && cd repo || exit 1
for i in $(seq 60); do mkdir -p "d$((i % 7))"; seq "$i" $((i + 200)) >"d$((i % 7))/f$i"; done
git add . && git commit -q -m first
for i in 3 9 27; do sed -i 's/^1/one /' "d$((i % 7))/f$i"; done
git mv d1/f1 d1/moved && rm d2/f2
git status --short
git commit -q -a -m second
git log --format='%H %T %s' --stat
git diff HEAD~1 | sha256sum

echo "== branch"
git checkout -q -b side HEAD~1 && echo side >side && git add side && git commit -q -m side
git checkout -q main && git merge -q --no-edit side && git log --oneline --graph
echo dirty >>d0/f7 && git stash -q && git stash list && git stash pop -q && git checkout -q .
git rebase -q --onto HEAD~1 HEAD~1 main && git rev-parse HEAD
git blame d3/f3 | sha256sum

echo "== clone"
cd .. && git clone -q repo local && git -C local rev-parse HEAD && git clone -q "file://$PWD/repo" remote
git -C remote log --format=%H | sha256sum
echo more >remote/more && git -C remote add more && git -C remote commit -q -m more
git -C remote push -q origin HEAD:topic && git -C repo rev-parse topic

echo "== gc"
cd repo && git gc -q && git count-objects -v | grep -E '^(count|in-pack|packs|garbage)'
git fsck --full 2>/dev/null && echo sound
git repack -q -a -d -f --threads=2 && git verify-pack -v .git/objects/pack/*.idx | wc -l
git archive HEAD | sha256sum
