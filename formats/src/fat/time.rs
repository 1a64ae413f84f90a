//! Times as directory entries hold them.

/// A time as entries hold it, to two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: u16,
    pub(super) time: u16,
}

impl Stamp {
    pub(super) fn at(seconds: i64) -> Self {
        const DAY: i64 = 86400;
        const YEAR_1980: i64 = 3652 * DAY;
        const YEAR_2108: i64 = 50403 * DAY;
        let seconds = seconds.clamp(YEAR_1980, YEAR_2108 - 1);
        let (mut days, second) = (seconds / DAY - 3652, seconds % DAY);
        let (hour, minute) = (second / 3600, second / 60 % 60);
        let leap = |year: i64| year % 4 == 0 && year != 2100;
        let mut year = 1980;
        while days >= 365 + i64::from(leap(year)) {
            days -= 365 + i64::from(leap(year));
            year += 1;
        }
        let february = 28 + i64::from(leap(year));
        let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
        let mut month = 1;
        for length in lengths {
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        // Clamped to 128 years, so that all fields fit.
        Stamp {
            date: ((year - 1980) << 9 | month << 5 | (days + 1)) as u16,
            time: (hour << 11 | minute << 5 | (second % 60 / 2)) as u16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let check = |seconds, expected: (i64, i64, i64, i64, i64, i64)| {
            let Stamp { date, time } = Stamp::at(seconds);
            let (date, time) = (i64::from(date), i64::from(time));
            let got = (
                1980 + (date >> 9),
                date >> 5 & 15,
                date & 31,
                time >> 11,
                time >> 5 & 63,
                (time & 31) * 2,
            );
            assert_eq!(got, expected, "{seconds}");
        };
        check(0, (1980, 1, 1, 0, 0, 0));
        check(i64::MIN, (1980, 1, 1, 0, 0, 0));
        check(951_825_599, (2000, 2, 29, 11, 59, 58));
        check(1_735_689_599, (2024, 12, 31, 23, 59, 58));
        check(4_107_542_400, (2100, 3, 1, 0, 0, 0));
        check(i64::MAX, (2107, 12, 31, 23, 59, 58));
    }
}
