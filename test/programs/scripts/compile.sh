# gcc and make -j2 of a small project, then its test.
command -v gcc >/dev/null && command -v make >/dev/null || { echo "skip: no gcc or make"; exit 0; }
dir=$(mktemp -d)
cd "$dir" || exit 1
objects=
for i in $(seq 8); do
    printf '#include <stdio.h>\n#include <string.h>\nint f%s(int x) { char b[64]; snprintf(b, sizeof b, "%%d", x); return (int)strlen(b) * %s; }\n' "$i" "$i" >"f$i.c"
    objects="$objects f$i.o"
done
{
    for i in $(seq 8); do echo "int f$i(int);"; done
    echo '#include <stdio.h>'
    echo 'int main(void) { int n = 0;'
    for i in $(seq 8); do echo "n += f$i($i * 1000);"; done
    echo 'printf("%d\n", n); return n != 144; }'
} >main.c
printf 'prog: main.o%s\n\tgcc -o $@ $^\ntest: prog\n\t./prog && echo passed\n' "$objects" >Makefile
make -s -j2 test
echo "status $?"
rm -rf "$dir"
