//! containerd's filters, as far as a snapshotter is sent any.
//!
//! A filter is a list of selectors that must all hold: `FIELD`, `FIELD==VALUE` or `FIELD!=VALUE`, separated by
//! commas. A field is `name`, `parent`, `kind` or `labels.KEY`; parts and values may be in double quotes, with
//! Go's escapes. containerd itself sends one form, `labels."containerd.io/snapshot.ref"==ID,parent=="NAME"`, and
//! looks at what it gets again; people's filters it applies itself. So regular expressions (`~=`) and the two
//! other kinds of quotes are refused, rather than answered wrongly.

use std::iter::Peekable;
use std::str::Chars;

/// A filter that is no filter, or one that is not supported.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("filter {filter}: {fault}")]
pub(crate) struct FilterError {
    filter: String,
    fault: &'static str,
}

/// All selectors of one filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter(Vec<Selector>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Selector {
    field: Vec<String>,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Present,
    Equal(String),
    Unequal(String),
}

impl Filter {
    /// Parses one filter; an empty one matches everything.
    pub(crate) fn parse(text: &str) -> Result<Filter, FilterError> {
        let mut parser = Parser(text.chars().peekable());
        parser.filter().map_err(|fault| FilterError {
            filter: text.to_owned(),
            fault,
        })
    }

    /// Whether all selectors hold; `value` gives a field's value, if it is there.
    pub(crate) fn matches<'a>(&self, value: impl Fn(&[String]) -> Option<&'a str>) -> bool {
        self.0.iter().all(|selector| {
            let value = value(&selector.field);
            match &selector.test {
                Test::Present => value.is_some(),
                Test::Equal(wanted) => value == Some(wanted),
                Test::Unequal(unwanted) => value.unwrap_or_default() != unwanted,
            }
        })
    }
}

struct Parser<'a>(Peekable<Chars<'a>>);

type Parsed<T> = Result<T, &'static str>;

impl Parser<'_> {
    fn filter(&mut self) -> Parsed<Filter> {
        let mut selectors = Vec::new();
        self.spaces();
        if self.0.peek().is_none() {
            return Ok(Filter(selectors));
        }
        loop {
            selectors.push(self.selector()?);
            self.spaces();
            match self.0.next() {
                None => return Ok(Filter(selectors)),
                Some(',') => {}
                Some(_) => return Err("a comma, or the end, is missing after a selector"),
            }
        }
    }

    fn selector(&mut self) -> Parsed<Selector> {
        let mut field = vec![self.field()?];
        while self.0.next_if_eq(&'.').is_some() {
            field.push(self.field()?);
        }
        self.spaces();
        let mut operator = String::new();
        while let Some(sign) = self.0.next_if(|c| matches!(c, '=' | '!' | '~')) {
            operator.push(sign);
        }
        let test = match operator.as_str() {
            "" => Test::Present,
            "==" => Test::Equal(self.value()?),
            "!=" => Test::Unequal(self.value()?),
            "~=" => return Err("regular expressions are not supported"),
            _ => return Err("the operators are == and !="),
        };
        Ok(Selector { field, test })
    }

    fn field(&mut self) -> Parsed<String> {
        self.spaces();
        if self.0.next_if_eq(&'"').is_some() {
            return self.quoted();
        }
        let word = self.word(|c| c.is_ascii_alphanumeric() || c == '_');
        match word.is_empty() {
            true => Err("the name of a field is missing"),
            false => Ok(word),
        }
    }

    fn value(&mut self) -> Parsed<String> {
        self.spaces();
        match self.0.peek() {
            Some('"') => {
                self.0.next();
                self.quoted()
            }
            Some('/' | '|') => Err("values are quoted with double quotes only"),
            _ => {
                let word = self.word(|c| c != ',' && !c.is_whitespace());
                match word.is_empty() {
                    true => Err("a value is missing"),
                    false => Ok(word),
                }
            }
        }
    }

    fn spaces(&mut self) {
        while self.0.next_if(|c| c.is_whitespace()).is_some() {}
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> String {
        let mut word = String::new();
        while let Some(c) = self.0.next_if(|c| part(*c)) {
            word.push(c);
        }
        word
    }

    /// The rest of a quoted string, after its opening quote.
    fn quoted(&mut self) -> Parsed<String> {
        const OPEN: &str = "a quoted string does not end";
        // Escapes may give single bytes of a character.
        let mut bytes = Vec::new();
        loop {
            match self.0.next().ok_or(OPEN)? {
                '"' => return String::from_utf8(bytes).map_err(|_| "a quoted string is no UTF-8"),
                '\n' => return Err(OPEN),
                '\\' => {
                    let escape = self.0.next().ok_or(OPEN)?;
                    self.escape(escape, &mut bytes)?;
                }
                c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }

    fn escape(&mut self, escape: char, bytes: &mut Vec<u8>) -> Parsed<()> {
        const BAD: &str = "a quoted string has an escape that Go does not know";
        let byte = match escape {
            'a' => 7,
            'b' => 8,
            't' => b'\t',
            'n' => b'\n',
            'v' => 11,
            'f' => 12,
            'r' => b'\r',
            '\\' => b'\\',
            '"' => b'"',
            'x' => u8::try_from(self.number(0, 2, 16)?).map_err(|_| BAD)?,
            '0'..='7' => {
                let first = escape.to_digit(8).unwrap_or_default();
                u8::try_from(self.number(first, 2, 8)?).map_err(|_| BAD)?
            }
            'u' | 'U' => {
                let digits = if escape == 'u' { 4 } else { 8 };
                let c = char::from_u32(self.number(0, digits, 16)?).ok_or(BAD)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                return Ok(());
            }
            _ => return Err(BAD),
        };
        bytes.push(byte);
        Ok(())
    }

    fn number(&mut self, first: u32, digits: usize, radix: u32) -> Parsed<u32> {
        let mut number = first;
        for _ in 0..digits {
            let digit = self.0.next().and_then(|c| c.to_digit(radix));
            let digit = digit.ok_or("an escape of a quoted string lacks digits")?;
            number = number.wrapping_mul(radix).wrapping_add(digit);
        }
        Ok(number)
    }
}
