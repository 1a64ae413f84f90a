//! A squarified treemap: rectangles with areas in proportion to sizes, as square as can be (Bruls, Huizing, van
//! Wijk: Squarified Treemaps, 2000).
//!
//! Only additions, multiplications and divisions are done with floating-point numbers, so that the result is the
//! same on every machine.

/// A rectangle, in any unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) width: f64,
    pub(super) height: f64,
}

impl Rect {
    pub(super) fn area(&self) -> f64 {
        self.width * self.height
    }

    /// The rectangle without a margin on each side and a band at its top; of no size if there is no room.
    pub(super) fn inside(&self, margin: f64, band: f64) -> Rect {
        Rect {
            x: self.x + margin,
            y: self.y + margin + band,
            width: (self.width - 2.0 * margin).max(0.0),
            height: (self.height - 2.0 * margin - band).max(0.0),
        }
    }
}

/// A rectangle for each of `sizes`, which descend, within `all`.
pub(super) fn squarify(sizes: &[u64], all: Rect) -> Vec<Rect> {
    let total: f64 = sizes.iter().map(|size| *size as f64).sum();
    if total <= 0.0 || all.area() <= 0.0 {
        let nothing = Rect {
            width: 0.0,
            height: 0.0,
            ..all
        };
        return vec![nothing; sizes.len()];
    }
    let scale = all.area() / total;
    let areas: Vec<f64> = sizes.iter().map(|size| *size as f64 * scale).collect();
    let mut rects = Vec::with_capacity(sizes.len());
    let mut rest = all;
    let mut start = 0;
    while start < areas.len() {
        let side = rest.width.min(rest.height);
        let mut end = start + 1;
        let mut row = areas[start];
        // A row takes in what makes its worst rectangle squarer.
        while end < areas.len() {
            let longer = row + areas[end];
            if worst(&areas[start..=end], longer, side) > worst(&areas[start..end], row, side) {
                break;
            }
            row = longer;
            end += 1;
        }
        rest = lay(&areas[start..end], row, rest, &mut rects);
        start = end;
    }
    rects
}

/// The worst ratio of sides in a row of areas with sum `row` along `side`. Areas descend.
fn worst(areas: &[f64], row: f64, side: f64) -> f64 {
    let (Some(largest), Some(smallest)) = (areas.first(), areas.last()) else {
        return f64::INFINITY;
    };
    let square = side * side;
    (square * largest / (row * row)).max(row * row / (square * smallest))
}

/// Lays a row along the shorter side of `rest`; gives what is left of it.
fn lay(areas: &[f64], row: f64, rest: Rect, rects: &mut Vec<Rect>) -> Rect {
    let upright = rest.width >= rest.height;
    let side = if upright { rest.height } else { rest.width };
    let thickness = if side > 0.0 { row / side } else { 0.0 };
    let mut at = 0.0;
    for area in areas {
        let length = if thickness > 0.0 {
            area / thickness
        } else {
            0.0
        };
        rects.push(match upright {
            true => Rect {
                x: rest.x,
                y: rest.y + at,
                width: thickness,
                height: length,
            },
            false => Rect {
                x: rest.x + at,
                y: rest.y,
                width: length,
                height: thickness,
            },
        });
        at += length;
    }
    match upright {
        true => Rect {
            x: rest.x + thickness,
            width: (rest.width - thickness).max(0.0),
            ..rest
        },
        false => Rect {
            y: rest.y + thickness,
            height: (rest.height - thickness).max(0.0),
            ..rest
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ALL: Rect = Rect {
        x: 10.0,
        y: 20.0,
        width: 600.0,
        height: 400.0,
    };

    #[test]
    fn the_example_of_the_paper() {
        let all = Rect {
            x: 0.0,
            y: 0.0,
            width: 6.0,
            height: 4.0,
        };
        let rects = squarify(&[6, 6, 4, 3, 2, 2, 1], all);
        // Two rectangles of 3 by 2 on the left, one above the other.
        assert_eq!(
            rects[0],
            Rect {
                x: 0.0,
                y: 0.0,
                width: 3.0,
                height: 2.0
            }
        );
        assert_eq!(
            rects[1],
            Rect {
                x: 0.0,
                y: 2.0,
                width: 3.0,
                height: 2.0
            }
        );
        assert!((rects[2].width - 12.0 / 7.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_has_no_size() {
        assert_eq!(squarify(&[], ALL), []);
        assert_eq!(squarify(&[0, 0], ALL)[1].area(), 0.0);
        assert_eq!(ALL.inside(500.0, 0.0).width, 0.0);
    }

    proptest! {
        #[test]
        fn areas_are_in_proportion_and_inside(mut sizes in prop::collection::vec(1_u64..1_000_000_000, 1..60)) {
            sizes.sort_by(|a, b| b.cmp(a));
            let total: u64 = sizes.iter().sum();
            for (size, rect) in sizes.iter().zip(squarify(&sizes, ALL)) {
                let expected = *size as f64 / total as f64 * ALL.area();
                prop_assert!((rect.area() - expected).abs() < 1e-6 * ALL.area());
                prop_assert!(rect.x >= ALL.x - 1e-6 && rect.y >= ALL.y - 1e-6);
                prop_assert!(rect.x + rect.width <= ALL.x + ALL.width + 1e-6);
                prop_assert!(rect.y + rect.height <= ALL.y + ALL.height + 1e-6);
            }
        }
    }
}
