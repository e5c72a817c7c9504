# A server of one thread and many events, with fork for its snapshots, and its own load generator.
# needs: redis-server redis-benchmark redis-cli
# limit: 120
redis-server --port 0 --unixsocket "$PWD/sock" --dir "$PWD" --daemonize no --save '' >log 2>&1 &
server=$!
cli() { redis-cli -s "$PWD/sock" "$@"; }
for _ in $(seq 100); do [ "$(cli ping 2>/dev/null)" = PONG ] && break; sleep 0.1; done
echo "== commands"
cli set key value
cli get key
cli rpush list a b c
cli lrange list 0 -1
cli incrby n 41
cli eval 'return redis.call("incr", KEYS[1])' 1 n
seq 2000 | sed 's/.*/set k& v&/' | cli | sort | uniq -c
cli dbsize
cli expire key 100
printf 'multi\nincr n\nincr n\nexec\n' | cli

echo "== snapshot"
cli save
cli bgsave >/dev/null
for _ in $(seq 100); do cli info persistence | grep -q rdb_bgsave_in_progress:0 && break; sleep 0.1; done
cli info persistence | tr -d '\r' | grep rdb_last_bgsave_status
[ -s dump.rdb ] && echo written

echo "== benchmark"
redis-benchmark -s "$PWD/sock" -q -n 2000 -c 20 -t set,get,incr,lpush,mset 2>/dev/null | tr '\r' '\n' |
    sed -nE 's/^([A-Z_]+[^:]*): [0-9.]+ requests per second.*/\1/p' | sort -u
redis-benchmark -s "$PWD/sock" -q -n 2000 -c 5 -P 16 -t set 2>/dev/null | tr '\r' '\n' | grep -c 'requests per second'

echo "== network"
kill $server
wait $server
echo $?
redis-server --port 17923 --bind 127.0.0.1 --dir "$PWD" --save '' --io-threads 2 >log 2>&1 &
for _ in $(seq 100); do [ "$(redis-cli -p 17923 ping 2>/dev/null)" = PONG ] && break; sleep 0.1; done
redis-cli -p 17923 dbsize
redis-benchmark -p 17923 -q -n 1000 -c 10 -t get 2>/dev/null | tr '\r' '\n' | grep -c 'requests per second'
redis-cli -p 17923 shutdown nosave
wait
