//! What adjtimex(2) sets and tells. It is kept and told back, but the clock follows the host's, and nothing here steers it.
//!
//! Linux: kernel/time/ntp.c, and `timekeeping_validate_timex` of kernel/time/timekeeping.c.

use crate::Clocks;
use sentry_uapi::Errno;
use sentry_uapi::errno::EINVAL;
use sentry_uapi::time::{NSEC_PER_SEC, Timeval};
use sentry_uapi::timex::{
    ADJ_ADJTIME, ADJ_ESTERROR, ADJ_FREQUENCY, ADJ_MAXERROR, ADJ_MICRO, ADJ_NANO, ADJ_OFFSET,
    ADJ_OFFSET_READONLY, ADJ_SETOFFSET, ADJ_STATUS, ADJ_TAI, ADJ_TICK, ADJ_TIMECONST, STA_CLOCKERR, STA_NANO,
    STA_PLL, STA_RONLY, STA_UNSYNC, TIME_ERROR, TIME_OK, Timex,
};

/// Microseconds between ticks, of a kernel whose user-visible ticks are a hundred a second, and how far they may be off.
const TICK: i64 = 10_000;
const TICK_MARGIN: i64 = TICK / 10;
/// Largest frequency offset: 500 parts per million. Linux: `MAXFREQ`.
const MAX_FREQ: i64 = 500 << 16;
/// Nanoseconds, times 2 to the 32nd, in one unit of the frequency. Linux: `PPM_SCALE`.
const PPM_SCALE: i64 = 1000 << 16;
/// Largest time constant. Linux: `MAXTC`.
const MAX_CONSTANT: i64 = 10;
/// Linux: `MAX_TAI_OFFSET`.
const MAX_TAI: i64 = 100_000;
/// Largest error, in microseconds. Linux: `NTP_PHASE_LIMIT`.
const PHASE_LIMIT: i64 = 16_000_000;
/// Largest offset, in nanoseconds. Linux: `MAXPHASE`.
const MAX_PHASE: i64 = 500_000_000;

/// The state. Linux: the variables of kernel/time/ntp.c.
pub(crate) struct Ntp {
    status: i32,
    /// In nanoseconds.
    offset: i64,
    /// What adjtime(3) has asked for, in microseconds.
    adjust: i64,
    freq: i64,
    maxerror: i64,
    esterror: i64,
    constant: i64,
    tick: i64,
    tai: i64,
}

impl Ntp {
    pub(crate) fn new() -> Ntp {
        Ntp {
            status: STA_UNSYNC,
            offset: 0,
            adjust: 0,
            freq: 0,
            maxerror: PHASE_LIMIT,
            esterror: PHASE_LIMIT,
            constant: 2,
            tick: TICK,
            tai: 0,
        }
    }

    /// Linux: `process_adjtimex_modes`.
    fn set(&mut self, timex: &Timex) {
        let asks = |mode: u32| timex.modes & mode != 0;
        if asks(ADJ_STATUS) {
            if self.status & STA_PLL != 0 && timex.status & STA_PLL == 0 {
                self.status = STA_UNSYNC;
            }
            self.status = (self.status & STA_RONLY) | (timex.status & !STA_RONLY);
        }
        if asks(ADJ_NANO) {
            self.status |= STA_NANO;
        }
        if asks(ADJ_MICRO) {
            self.status &= !STA_NANO;
        }
        if asks(ADJ_FREQUENCY) {
            self.freq = timex.freq.clamp(-MAX_FREQ, MAX_FREQ);
        }
        if asks(ADJ_MAXERROR) {
            self.maxerror = timex.maxerror.clamp(0, PHASE_LIMIT);
        }
        if asks(ADJ_ESTERROR) {
            self.esterror = timex.esterror.clamp(0, PHASE_LIMIT);
        }
        let nanos = self.status & STA_NANO != 0;
        if asks(ADJ_TIMECONST) {
            let constant = timex.constant.clamp(0, MAX_CONSTANT);
            self.constant = if nanos { constant } else { (constant + 4).min(MAX_CONSTANT) };
        }
        if asks(ADJ_TAI) && (0..=MAX_TAI).contains(&timex.constant) {
            self.tai = timex.constant;
        }
        if asks(ADJ_OFFSET) && self.status & STA_PLL != 0 {
            let limit = if nanos { MAX_PHASE } else { MAX_PHASE / 1000 };
            let offset = timex.offset.clamp(-limit, limit);
            self.offset = if nanos { offset } else { offset * 1000 };
        }
        if asks(ADJ_TICK) {
            self.tick = timex.tick;
        }
    }
}

/// Whether a request needs CAP_SYS_TIME.
///
/// # Errors
/// `EINVAL` for what is out of range.
pub fn adjtime_sets(timex: &Timex) -> Result<bool, Errno> {
    let modes = timex.modes;
    let asks = |mode: u32| modes & mode != 0;
    if asks(ADJ_ADJTIME) {
        if !asks(ADJ_OFFSET) {
            return Err(EINVAL);
        }
        return Ok(!asks(ADJ_OFFSET_READONLY));
    }
    Ok(modes != 0)
}

/// What is in range of a request that its caller may make.
fn validate(timex: &Timex) -> Result<(), Errno> {
    let asks = |mode: u32| timex.modes & mode != 0;
    if !asks(ADJ_ADJTIME) && asks(ADJ_TICK) && timex.tick.saturating_sub(TICK).saturating_abs() > TICK_MARGIN
    {
        return Err(EINVAL);
    }
    if asks(ADJ_SETOFFSET) {
        let most = if asks(ADJ_NANO) { NSEC_PER_SEC } else { NSEC_PER_SEC / 1000 };
        if !(0..most).contains(&timex.time.tv_usec) {
            return Err(EINVAL);
        }
    }
    if asks(ADJ_FREQUENCY) && !(i64::MIN / PPM_SCALE..=i64::MAX / PPM_SCALE).contains(&timex.freq) {
        return Err(EINVAL);
    }
    Ok(())
}

impl Clocks {
    /// adjtimex(2), of a caller that may do it ([`adjtime_sets`]). Changes `timex` to what is told, and gives the state of
    /// the clock. Linux: `do_adjtimex`.
    ///
    /// # Errors
    /// `EINVAL` for what is out of range.
    pub fn adjust(&self, timex: &mut Timex) -> Result<u64, Errno> {
        validate(timex)?;
        if timex.modes & ADJ_SETOFFSET != 0 {
            let part = if timex.modes & ADJ_NANO == 0 { 1000 } else { 1 };
            let delta =
                timex.time.tv_sec.saturating_mul(NSEC_PER_SEC).saturating_add(timex.time.tv_usec * part);
            self.set_realtime(self.realtime_nanos().saturating_add(delta));
        }
        let now = self.realtime();
        let mut ntp = self.ntp.lock();
        let mut out = Timex { modes: timex.modes, ..Timex::default() };
        if timex.modes & ADJ_ADJTIME != 0 {
            out.offset = ntp.adjust;
            if timex.modes & ADJ_OFFSET_READONLY == 0 {
                ntp.adjust = timex.offset;
            }
        } else {
            ntp.set(timex);
            out.offset = if ntp.status & STA_NANO != 0 { ntp.offset } else { ntp.offset / 1000 };
        }
        let nanos = ntp.status & STA_NANO != 0;
        out.freq = ntp.freq;
        out.maxerror = ntp.maxerror;
        out.esterror = ntp.esterror;
        out.status = ntp.status;
        out.constant = ntp.constant;
        out.precision = 1;
        out.tolerance = MAX_FREQ;
        out.tick = ntp.tick;
        out.tai = i32::try_from(ntp.tai).unwrap_or(0);
        out.time =
            Timeval { tv_sec: now.tv_sec, tv_usec: if nanos { now.tv_nsec } else { now.tv_nsec / 1000 } };
        *timex = out;
        Ok(if ntp.status & (STA_UNSYNC | STA_CLOCKERR) != 0 { TIME_ERROR } else { TIME_OK })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_is_told_back() {
        let clocks = Clocks::scripted();
        let mut read = Timex::default();
        assert_eq!(clocks.adjust(&mut read), Ok(TIME_ERROR));
        assert_eq!((read.status, read.tick, read.tolerance), (STA_UNSYNC, TICK, 32_768_000));
        let modes = ADJ_STATUS | ADJ_FREQUENCY | ADJ_OFFSET | ADJ_TAI;
        let mut set = Timex { modes, status: STA_PLL, freq: 1 << 36, offset: 7, constant: 37, ..read };
        assert_eq!(clocks.adjust(&mut set), Ok(TIME_OK));
        assert_eq!((set.status, set.freq, set.offset, set.tai), (STA_PLL, MAX_FREQ, 7, 37));
    }

    #[test]
    fn out_of_range_is_refused_and_changes_nothing() {
        let clocks = Clocks::scripted();
        for tick in [0, TICK - TICK_MARGIN - 1, TICK + TICK_MARGIN + 1, i64::MIN] {
            let mut timex = Timex { modes: ADJ_TICK, tick, ..Timex::default() };
            assert_eq!(clocks.adjust(&mut timex), Err(EINVAL), "{tick}");
        }
        for freq in [i64::MIN, i64::MAX] {
            let mut timex = Timex { modes: ADJ_FREQUENCY, freq, ..Timex::default() };
            assert_eq!(clocks.adjust(&mut timex), Err(EINVAL), "{freq}");
        }
        assert_eq!(adjtime_sets(&Timex { modes: ADJ_ADJTIME, ..Timex::default() }), Err(EINVAL));
        let mut read = Timex::default();
        assert_eq!(clocks.adjust(&mut read), Ok(TIME_ERROR));
        assert_eq!((read.tick, read.freq), (TICK, 0));
    }

    #[test]
    fn setting_the_offset_moves_the_clock() {
        let clocks = Clocks::scripted();
        let before = clocks.realtime_nanos();
        let time = Timeval { tv_sec: -2, tv_usec: 500_000 };
        let mut timex = Timex { modes: ADJ_SETOFFSET, time, ..Timex::default() };
        assert_eq!(clocks.adjust(&mut timex), Ok(TIME_ERROR));
        assert_eq!(clocks.realtime_nanos() - before, -1_500_000_000);
    }
}
