//! What stands in a map.

use crate::prelude::*;
use libc::*;

const OWN: &str = "/proc/self/uid_map";

/// Each of `texts` is refused as malformed.
#[track_caller]
fn refused(t: &Guest, texts: &[&str]) {
    t.userns(0, || {
        for text in texts {
            let errno = t.write(OWN, text).errno();
            check!(errno == EINVAL, "{} for {text:?}", crate::sys::errno_name(errno));
        }
    })
    .done();
}

/// Each of `texts`, in which `UID` is this user, maps it to 0.
#[track_caller]
fn taken(t: &Guest, texts: &[&str]) {
    let uid = t.uid();
    for text in texts {
        t.userns(0, || {
            let text = text.replace("UID", &uid.to_string());
            let errno = t.write(OWN, &text).errno();
            check!(errno == 0, "{} for {text:?}", crate::sys::errno_name(errno));
            t.read(OWN).is(&format!("         0 {uid:10}          1\n"));
        })
        .done();
    }
}

#[case(as_root, as_user)]
fn fewer_than_three_numbers_are_einval(t: &mut Guest) {
    refused(t, &["0", "0 0", "0 0 ", "0\n0 1", "0 0\n1", " \n0 0 1"]);
}

#[case(as_root, as_user)]
fn more_than_three_numbers_are_einval(t: &mut Guest) {
    refused(t, &["0 0 1 1", "0 0 1 x", "0 0 1 0 0 1", "0 0 1;"]);
}

#[case(as_root, as_user)]
fn what_is_no_decimal_number_is_einval(t: &mut Guest) {
    refused(
        t,
        &[
            "x 0 1",
            "0 x 1",
            "0 0 x",
            "-1 0 1",
            "0 +0 1",
            "0x0 0 1",
            "0 0 1x",
            "0,0,1",
            "0:0:1",
            "\u{a0}0 0 1",
        ],
    );
}

#[case(as_root, as_user)]
fn an_empty_line_is_einval(t: &mut Guest) {
    refused(t, &["\n0 0 1", "0 0 1\n\n", "0 0 1\n\n1 1 1", "0 0 1\n \n"]);
}

#[case(as_root, as_user)]
fn the_invalid_id_is_einval(t: &mut Guest) {
    refused(t, &["4294967295 0 1", "0 4294967295 1", "4294967295 4294967295 1"]);
}

#[case(as_root, as_user)]
fn a_count_of_nothing_is_einval(t: &mut Guest) {
    refused(t, &["0 0 0", "1000 1000 0", "0 1 0\n"]);
}

#[case(as_root, as_user)]
fn a_range_that_wraps_around_is_einval(t: &mut Guest) {
    refused(t, &["4294967294 0 2", "0 4294967294 2", "1 0 4294967295", "0 1 4294967295", "2 2 4294967294"]);
}

#[case(as_root, as_user)]
fn an_overlap_inside_is_einval(t: &mut Guest) {
    refused(
        t,
        &["0 0 1\n0 1 1", "0 0 10\n9 20 1", "5 0 10\n0 20 6", "0 0 100\n10 200 10", "10 200 10\n0 0 100"],
    );
}

#[case(as_root, as_user)]
fn an_overlap_outside_is_einval(t: &mut Guest) {
    refused(t, &["0 0 1\n1 0 1", "0 0 10\n20 9 1", "0 5 10\n20 0 6", "0 0 100\n200 10 10"]);
}

#[case(as_root, as_user)]
fn one_bad_line_among_good_ones_is_einval(t: &mut Guest) {
    refused(t, &["0 0 1\n1 1 1\n2 2", "0 0 1\n1 1\n2 2 1", "x\n0 0 1"]);
}

/// The text is looked at before anyone asks whether it would be allowed.
#[case(as_user)]
fn malformed_wins_over_not_allowed(t: &mut Guest) {
    refused(t, &["0 0 1\n0 1 1", "0 0 1000 x", "0 0 1\n\n"]);
}

#[case(as_root, as_user)]
fn white_space_may_be_anywhere_in_a_line(t: &mut Guest) {
    taken(
        t,
        &["0 UID 1", "0 UID 1\n", "  0   UID   1  \n", "\t0\tUID\t1\t", "0 UID 1\r\n", "0\u{b}UID\u{c}1"],
    );
}

#[case(as_root, as_user)]
fn leading_zeroes_are_no_octal(t: &mut Guest) {
    taken(t, &["000 UID 0001", "0 00000UID 1"]);
}

#[case(as_root, as_user)]
fn a_nul_ends_the_text(t: &mut Guest) {
    taken(t, &["0 UID 1\0", "0 UID 1\0 and what follows", "0 UID 1\n\0x"]);
}

#[case(as_root, as_user)]
fn the_length_of_the_text_is_what_write_gives(t: &mut Guest) {
    let text = format!("0 {} 1\n    ", t.uid());
    // White space after the last line's end is one more line, an empty one.
    t.userns(0, || t.write(OWN, &text).fails(EINVAL)).done();
    let text = format!("   0 {} 1   \n", t.uid());
    t.userns(0, || t.write(OWN, &text).is(text.len())).done();
}

#[case(as_root)]
fn the_last_valid_id_can_be_mapped(t: &mut Guest) {
    t.mapped(0, "4294967294 4294967294 1", "0 0 4294967295", || {
        sys!(setresuid(4_294_967_294_u32, -1, -1)).ok();
        expect_eq!(t.resuid()[0], 4_294_967_294);
        t.read("/proc/self/gid_map").is("         0          0 4294967295\n");
    })
    .done();
}

#[case(as_root)]
fn ranges_may_touch(t: &mut Guest) {
    t.mapped(0, "0 100000 10\n10 100020 10\n20 100010 10", "", || {
        for id in [0, 9, 10, 19, 20, 29] {
            let _ = sys!(setfsuid(id));
            sys!(setfsuid(-1)).is(id);
        }
        sys!(setresuid(30, -1, -1)).fails(EINVAL);
    })
    .done();
}
