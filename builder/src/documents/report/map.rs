//! The treemap as it is without script: groups and their items. Widths are in per cent, so that it fills any
//! page, and heights in pixels, so that labels have the same room everywhere.

use super::amount;
use super::space::Group;
use crate::documents::treemap::{Rect, squarify};
use serde::Serialize;

/// The map's size in pixels, if the page is as wide as it gets.
const ALL: Rect = Rect {
    x: 0.0,
    y: 0.0,
    width: 1176.0,
    height: 580.0,
};
/// Height of a group's heading.
const BAND: f64 = 20.0;
/// About the width of a letter in a label.
const LETTER: f64 = 7.2;
/// A tile with less area in square pixels is not drawn.
const LEAST_AREA: f64 = 12.0;

/// A treemap.
#[derive(Serialize)]
pub(super) struct Map {
    /// In pixels.
    height: f64,
    groups: Vec<Tile>,
    tiles: Vec<Tile>,
}

#[derive(Serialize)]
struct Tile {
    class: &'static str,
    place: Place,
    /// What it is, in full.
    says: String,
    /// The name, as much as fits.
    label: String,
    /// The size, if there is room for it.
    size: String,
}

/// `x` and `width` in per cent, `y` and `height` in pixels.
#[derive(Serialize)]
struct Place {
    x: String,
    y: String,
    width: String,
    height: String,
}

impl From<Rect> for Place {
    fn from(rect: Rect) -> Self {
        Place {
            x: format!("{:.3}%", rect.x / ALL.width * 100.0),
            y: format!("{:.1}", rect.y),
            width: format!("{:.3}%", rect.width / ALL.width * 100.0),
            height: format!("{:.1}", rect.height),
        }
    }
}

/// The map of `groups`, which are sorted by size.
pub(super) fn map(groups: &[Group]) -> Map {
    let sizes: Vec<u64> = groups.iter().map(Group::bytes).collect();
    let mut map = Map {
        height: ALL.height,
        groups: Vec::new(),
        tiles: Vec::new(),
    };
    for (group, rect) in groups.iter().zip(squarify(&sizes, ALL)) {
        let rect = rect.inside(1.0, 0.0);
        let bytes = amount(group.bytes());
        map.groups.push(Tile {
            label: fit(&format!("{}  {bytes}", group.name), rect.width - 10.0),
            ..tile(group.class, group.name, &bytes, rect)
        });
        let sizes: Vec<u64> = group.items.iter().map(|item| item.bytes()).collect();
        for (item, rect) in group
            .items
            .iter()
            .zip(squarify(&sizes, rect.inside(3.0, BAND)))
        {
            if rect.area() >= LEAST_AREA {
                let bytes = amount(item.bytes());
                map.tiles
                    .push(tile(group.class, &item.name, &bytes, rect.inside(0.5, 0.0)));
            }
        }
    }
    map
}

fn tile(class: &'static str, name: &str, bytes: &str, rect: Rect) -> Tile {
    let room = rect.width - 10.0;
    let text = |text: &str, height: f64| match rect.height >= height {
        true => fit(text, room),
        false => String::new(),
    };
    // A size that is cut says something wrong.
    let size = Some(text(bytes, 34.0)).filter(|size| size == bytes);
    Tile {
        class,
        says: format!("{name}, {bytes}"),
        label: text(name, 18.0),
        size: size.unwrap_or_default(),
        place: rect.into(),
    }
}

/// As much of a text as fits, with an ellipsis for what does not; nothing if that would say nothing.
fn fit(text: &str, width: f64) -> String {
    let letters = text.chars().count() as f64;
    if letters * LETTER <= width {
        return text.to_owned();
    }
    let room = (width / LETTER).floor() - 1.0;
    if room < 3.0 {
        return String::new();
    }
    let kept: String = text.chars().take(room as usize).collect();
    format!("{}…", kept.trim_end())
}

#[cfg(test)]
mod tests {
    use super::super::space::Item;
    use super::*;

    #[test]
    fn labels_fit_or_are_cut() {
        assert_eq!(fit("kubelet", 100.0), "kubelet");
        assert_eq!(fit("kube-apiserver", 65.0), "kube-api…");
        assert_eq!(fit("kubelet", 20.0), "");
    }

    #[test]
    fn items_are_tiles_unless_nobody_could_see_them() {
        let item = |name: &str, bytes| Item::new(name, "", [(name, bytes)]);
        let group = Group {
            name: "x",
            class: "os",
            items: vec![item("a", 1_000_000), item("b", 500_000), item("c", 1)],
        };
        let map = map(&[group]);
        let says: Vec<&str> = map.tiles.iter().map(|tile| tile.says.as_str()).collect();
        assert_eq!(says, ["a, 977 KiB", "b, 488 KiB"]);
        assert_eq!(map.groups[0].label, "x  1.43 MiB");
    }
}
