# Perl: fork, open with pipes, sockets, sprintf of the times, sort.
# needs: perl
# limit: 60
echo "== processes"
perl -e '$| = 1; for $i (1..5) { if (!($p = fork)) { exit $i } push @p, $p } for (@p) { waitpid $_, 0; print $? >> 8, "\n" }'
perl -e 'open my $f, "-|", "seq 5" or die; print map { $_ * 2 . "\n" } <$f>; close $f; print "$?\n"'
perl -e 'open my $f, "|-", "sort -n" or die; print $f "$_\n" for 3, 1, 2'
perl -e '$SIG{ALRM} = sub { die "alarm\n" }; eval { alarm 1; select undef, undef, undef, 30 }; print $@'
perl -e 'print `echo quoted; exit 4`, $? >> 8, "\n"; system "kill -9 \$\$"; print $? & 127, "\n"'

echo "== files"
perl -MFile::Find -MFile::Temp=tempdir -MFile::Copy -MCwd -e '
    $d = tempdir(CLEANUP => 1, DIR => "."); for (1..20) { open F, ">", "$d/f$_"; print F "x" x $_; close F }
    find(sub { $n++; $s += -s if -f }, $d); print "$n $s\n"; copy("$d/f7", "copy"); print -s "copy", "\n";
    rename "copy", "moved"; print join(",", glob "mov*"), "\n"; symlink "moved", "l"; print readlink "l", "\n"; chmod 0640, "moved";
    printf "%o %d\n", (stat "l")[2, 3]; utime 1, 2, "moved"; print join(" ", (stat "moved")[8, 9]), "\n"'

echo "== sockets"
perl -MIO::Socket::INET -e '
    $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1") or die $@;
    if (!fork) { for (1..3) { $c = IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => $s->sockport) or die $@; print $c "hello $_\n"; print scalar <$c> } exit }
    for (1..3) { $c = $s->accept; $l = <$c>; print $c "got $l"; close $c } wait; print $?, "\n"'

echo "== text"
perl -MDigest::SHA=sha256_hex -e 'srand 1; print sha256_hex(join ",", sort { $a <=> $b } map { $_ * 7919 % 10007 } 1..50000), "\n"'
perl -MTime::HiRes=sleep,clock_gettime,CLOCK_MONOTONIC -e '$t = clock_gettime(CLOCK_MONOTONIC); sleep 0.05; print clock_gettime(CLOCK_MONOTONIC) - $t >= 0.05 ? "slept\n" : "short\n"'
perl -MPOSIX -e 'print strftime("%Y-%m-%d", gmtime 0), " ", (uname)[0], " ", POSIX::sysconf(_SC_PAGESIZE), "\n"'
