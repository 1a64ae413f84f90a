//! The treemap as tiles: widths in per cent, so that it fills any page, and heights in pixels, so that labels
//! have the same room everywhere. One map is for wide pages, one for narrow ones.

use super::{Group, Item};
use crate::documents::treemap::{Rect, squarify};
use crate::progress::size;
use serde::Serialize;

/// Height of a group's heading.
const BAND: f64 = 22.0;
/// Between tiles.
const GAP: f64 = 1.0;
/// Between groups.
const GROUP_GAP: f64 = 2.0;
/// About the width of a letter in a label.
const LETTER: f64 = 6.6;
/// A tile below this area shows no files.
const LEAST_AREA: f64 = 4000.0;
/// How many files a tile shows; the others are the space that is left.
const SHOWN_FILES: usize = 40;

/// A treemap for pages of about one width.
#[derive(Serialize)]
pub(super) struct Map {
    /// Its class in the style sheet.
    class: &'static str,
    /// In pixels.
    height: f64,
    groups: Vec<Heading>,
    tiles: Vec<Tile>,
}

/// The heading of a group.
#[derive(Serialize)]
struct Heading {
    text: String,
    place: Place,
}

#[derive(Serialize)]
struct Tile {
    class: &'static str,
    /// Which of the items it is.
    item: usize,
    place: Place,
    /// What a screen reader says.
    says: String,
    /// The name, as much as fits.
    label: String,
    /// The size, if there is room for it.
    size: String,
    /// Places of files within the tile.
    files: Vec<Place>,
}

/// `x` and `width` in per cent, `y` and `height` in pixels.
#[derive(Serialize)]
struct Place {
    x: String,
    y: String,
    width: String,
    height: String,
}

impl Place {
    fn of(rect: Rect, within: f64) -> Self {
        Place {
            x: format!("{:.3}%", rect.x / within * 100.0),
            y: format!("{:.1}", rect.y),
            width: format!("{:.3}%", rect.width / within * 100.0),
            height: format!("{:.1}", rect.height),
        }
    }
}

/// The maps for wide and for narrow pages.
pub(super) fn maps(groups: &[Group]) -> Vec<Map> {
    vec![
        map("wide", groups, 1120.0, 620.0),
        map("narrow", groups, 360.0, 900.0),
    ]
}

fn map(class: &'static str, groups: &[Group], width: f64, height: f64) -> Map {
    let sizes: Vec<u64> = groups.iter().map(Group::bytes).collect();
    let all = Rect {
        x: 0.0,
        y: 0.0,
        width,
        height,
    };
    let mut headings = Vec::new();
    let mut tiles = Vec::new();
    for (group, rect) in groups.iter().zip(squarify(&sizes, all)) {
        let inside = rect.inside(GROUP_GAP, BAND);
        let text = format!("{}  {}", group.name, size(group.bytes()));
        headings.push(Heading {
            text: fit(&text, inside.width),
            place: Place::of(
                Rect {
                    height: BAND,
                    ..rect.inside(GROUP_GAP, 0.0)
                },
                width,
            ),
        });
        let sizes: Vec<u64> = group.items.iter().map(|item| item.bytes).collect();
        for (item, rect) in group.items.iter().zip(squarify(&sizes, inside)) {
            tiles.push(tile(
                group,
                item,
                tiles.len(),
                rect.inside(GAP / 2.0, 0.0),
                width,
            ));
        }
    }
    Map {
        class,
        height,
        groups: headings,
        tiles,
    }
}

fn tile(group: &Group, item: &Item, number: usize, rect: Rect, width: f64) -> Tile {
    let bytes = size(item.bytes);
    let room = rect.width - 10.0;
    let label = if rect.height >= 18.0 {
        fit(&item.name, room)
    } else {
        String::new()
    };
    let has_second_line = !label.is_empty() && rect.height >= 34.0;
    Tile {
        class: group.class,
        item: number,
        says: format!("{}, {}, {bytes}", item.name, group.name),
        size: if has_second_line {
            fit(&bytes, room)
        } else {
            String::new()
        },
        label,
        files: files(item, rect),
        place: Place::of(rect, width),
    }
}

/// Where the files of an item are in its tile, if that is large enough to show them.
fn files(item: &Item, tile: Rect) -> Vec<Place> {
    if tile.width * tile.height < LEAST_AREA || item.files.len() < 2 {
        return Vec::new();
    }
    let shown = item.files.len().min(SHOWN_FILES);
    let mut sizes: Vec<u64> = item.files[..shown].iter().map(|file| file.bytes).collect();
    let rest = item.bytes - sizes.iter().sum::<u64>();
    sizes.push(rest);
    sizes.sort_by(|a, b| b.cmp(a));
    let all = Rect {
        x: 0.0,
        y: 0.0,
        ..tile
    };
    let rects = squarify(&sizes, all);
    let visible = rects
        .into_iter()
        .filter(|rect| rect.width > 2.0 && rect.height > 2.0);
    visible.map(|rect| Place::of(rect, tile.width)).collect()
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
    use super::*;
    use crate::contents::File;

    #[test]
    fn labels_fit_or_are_cut() {
        assert_eq!(fit("kubelet", 100.0), "kubelet");
        assert_eq!(fit("kube-apiserver", 60.0), "kube-api…");
        assert_eq!(fit("kubelet", 20.0), "");
    }

    #[test]
    fn tiles_have_the_numbers_of_their_items() {
        let item = |name: &str| {
            Item::new(
                name,
                "",
                vec![File {
                    path: name.into(),
                    bytes: 5,
                }],
            )
        };
        let group = |name| Group {
            name,
            class: "os",
            items: vec![item("a"), item("b")],
        };
        let maps = maps(&[group("x"), group("y")]);
        let numbers: Vec<usize> = maps[0].tiles.iter().map(|tile| tile.item).collect();
        assert_eq!(numbers, [0, 1, 2, 3]);
        assert_eq!(maps[1].tiles[3].says, "b, y, 5 B");
    }
}
