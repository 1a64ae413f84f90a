//! Times as directory entries hold them.

use crate::civil::Civil;

/// A time as entries hold it, to two seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) date: u16,
    pub(super) time: u16,
}

impl Stamp {
    pub(super) fn at(seconds: i64) -> Self {
        let at = Civil::at(seconds);
        let [month, day] = [at.month, at.day].map(u16::from);
        let [hour, minute, second] = [at.hour, at.minute, at.second].map(u16::from);
        Stamp {
            date: (at.year - 1980) << 9 | month << 5 | day,
            time: hour << 11 | minute << 5 | (second / 2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_packed() {
        let Stamp { date, time } = Stamp::at(1_735_689_599);
        assert_eq!((date >> 9, date >> 5 & 15, date & 31), (44, 12, 31));
        assert_eq!((time >> 11, time >> 5 & 63, time & 31), (23, 59, 29));
    }
}
