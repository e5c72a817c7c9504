# perl: processes, pipes, files, sorting.
perl -e '
    print join(",", map { $_ * 2 } 1 .. 5), "\n";
    system("echo from a shell");
    open(my $f, "-|", "ls /usr") or die; print sort <$f>; close $f;
    my $pid = fork; if (!$pid) { exit 7 } waitpid $pid, 0; print $? >> 8, "\n";
    local $SIG{ALRM} = sub { print "alarm\n" }; alarm 1; select undef, undef, undef, 3;
'
echo "status $?"
