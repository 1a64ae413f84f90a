//! Dates and times as file systems write them.

/// A moment in UTC, of the years that FAT knows: 1980 to 2107. Others are clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    pub(crate) year: u16,
    /// From 1.
    pub(crate) month: u8,
    /// From 1.
    pub(crate) day: u8,
    pub(crate) hour: u8,
    pub(crate) minute: u8,
    pub(crate) second: u8,
}

impl Civil {
    /// The moment `seconds` after the beginning of 1970.
    pub(crate) fn at(seconds: i64) -> Self {
        const DAY: i64 = 86400;
        const YEAR_1980: i64 = 3652 * DAY;
        const YEAR_2108: i64 = 50403 * DAY;
        let seconds = seconds.clamp(YEAR_1980, YEAR_2108 - 1);
        let (mut days, second) = (seconds / DAY - 3652, seconds % DAY);
        let leap = |year: u16| year.is_multiple_of(4) && year != 2100;
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
        // Clamped, so that every field fits.
        Civil {
            year,
            month,
            day: (days + 1) as u8,
            hour: (second / 3600) as u8,
            minute: (second / 60 % 60) as u8,
            second: (second % 60) as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        let check = |seconds, expected: (u16, u8, u8, u8, u8, u8)| {
            let Civil {
                year,
                month,
                day,
                hour,
                minute,
                second,
            } = Civil::at(seconds);
            let got = (year, month, day, hour, minute, second);
            assert_eq!(got, expected, "{seconds}");
        };
        check(0, (1980, 1, 1, 0, 0, 0));
        check(i64::MIN, (1980, 1, 1, 0, 0, 0));
        check(951_825_599, (2000, 2, 29, 11, 59, 59));
        check(1_735_689_599, (2024, 12, 31, 23, 59, 59));
        check(4_107_542_400, (2100, 3, 1, 0, 0, 0));
        check(i64::MAX, (2107, 12, 31, 23, 59, 59));
    }
}
