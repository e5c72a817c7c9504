# The C compiler and make: vfork, pipes between processes, response files, a jobserver.
# needs: gcc make
# limit: 120
echo "== sources"
for i in 1 2 3 4 5 6; do
    cat >"unit$i.c" <<EOF
#include "units.h"
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b) { return *(const int *)a - *(const int *)b; }
long unit$i(int n)
{
    int *v = malloc(n * sizeof *v);
    long sum = 0;
    for (int i = 0; i < n; i++) v[i] = (i * 7919 + $i) % 1009;
    qsort(v, n, sizeof *v, compare);
    for (int i = 0; i < n; i++) sum += (long)i * v[i];
    free(v);
    return sum;
}
EOF
done
for i in 1 2 3 4 5 6; do echo "long unit$i(int n);"; done >units.h
cat >main.c <<'EOF'
#include "units.h"
#include <pthread.h>
#include <stdio.h>
static long (*const units[])(int) = { unit1, unit2, unit3, unit4, unit5, unit6 };
static long sums[6];
static void *run(void *i) { sums[(long)i] = units[(long)i](20000); return 0; }
int main(void)
{
    pthread_t threads[6];
    for (long i = 0; i < 6; i++) pthread_create(&threads[i], 0, run, (void *)i);
    for (int i = 0; i < 6; i++) pthread_join(threads[i], 0);
    for (int i = 0; i < 6; i++) printf("unit %d: %ld\n", i + 1, sums[i]);
    return 0;
}
EOF
cat >Makefile <<'EOF'
CFLAGS = -O2 -Wall -Werror
OBJECTS = main.o unit1.o unit2.o unit3.o unit4.o libunits.a
prog: $(OBJECTS)
	$(CC) -o $@ main.o unit1.o unit2.o unit3.o unit4.o -L. -lunits -lpthread
libunits.a: unit5.o unit6.o
	$(AR) rcsD $@ $^
%.o: %.c units.h
	$(CC) $(CFLAGS) -c -o $@ $<
test: prog
	./prog > out
	test `wc -l < out` = 6
	cat out
EOF
cat ./*.c ./*.h Makefile | sha256sum

echo "== make"
make -s -j2 prog && echo made
make -q prog && echo "up to date"
touch -d '+1 hour' unit3.c && make -n prog 2>/dev/null | wc -l

echo "== run"
make -s test
nm prog | grep -c ' T unit'
sha256sum prog
gcc -static -O1 -o static main.c unit?.c -lpthread && ./static | tail -n 1

echo "== errors"
echo 'int main(void) { return x; }' >bad.c
gcc -c bad.c 2>&1 | head -n 3
echo 'int main(int c, char **v) { return *(volatile int *)0; }' >crash.c
gcc -o crash crash.c && (ulimit -c 0; ./crash) 2>/dev/null
echo $?

echo "== sanitise"
gcc -E main.c | grep -c unit
gcc -pg -O0 -c unit1.c && objdump -d unit1.o | grep -c call
