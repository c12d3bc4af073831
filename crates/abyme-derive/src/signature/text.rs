//! Checks the string form of a signature while compiling. The reader itself is in `abyme-core`, which this
//! crate cannot use; a test there (`tests/signature_text.rs`) holds the two to the same answers.

/// A problem: the byte where it is, and what it is.
pub(crate) type Problem = (usize, String);

type Result<T> = std::result::Result<T, Problem>;

/// The names of the inputs and of the outputs.
///
/// # Errors
/// The first thing that cannot be in a signature. What is in names, and the escapes in texts, are not looked
/// at.
pub(crate) fn names(text: &str) -> Result<(Vec<&str>, Vec<&str>)> {
    Checker { text, at: 0, depth: 0 }.signature()
}

/// How deep types may be nested.
const MAX_DEPTH: usize = 32;

const PLAIN: [&str; 14] = [
    "str",
    "int",
    "float",
    "bool",
    "bytes",
    "None",
    "NoneType",
    "Any",
    "object",
    "date",
    "time",
    "datetime",
    "timedelta",
    "Decimal",
];
const LISTS: [&str; 6] = ["list", "List", "set", "Set", "frozenset", "FrozenSet"];

struct Checker<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

impl<'a> Checker<'a> {
    fn signature(mut self) -> Result<(Vec<&'a str>, Vec<&'a str>)> {
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        while !self.take("->") {
            let name = self.field("`->` and the outputs")?;
            if inputs.contains(&name) {
                return self.fail(format!("the input `{name}` comes twice"));
            }
            inputs.push(name);
            if !self.take(",") && !self.rest().starts_with("->") {
                return self.unexpected("`,` or `->`");
            }
        }
        while !self.rest().is_empty() || outputs.is_empty() {
            let name = self.field("an output after `->`")?;
            if inputs.contains(&name) || outputs.contains(&name) {
                return self.fail(format!("`{name}` comes twice"));
            }
            outputs.push(name);
            if !self.take(",") && !self.rest().is_empty() {
                return self.unexpected("`,` or the end");
            }
        }
        Ok((inputs, outputs))
    }

    fn field(&mut self, expected: &str) -> Result<&'a str> {
        let rest = self.rest();
        let stop = |char: char| char.is_whitespace() || matches!(char, ',' | ':' | '[' | '=');
        let name = rest[..rest.find(stop).unwrap_or(rest.len())].split("->").next().unwrap_or_default();
        if name.is_empty() {
            return self.unexpected(expected);
        }
        self.at += name.len();
        if self.take(":") {
            self.union()?;
        }
        Ok(name)
    }

    fn union(&mut self) -> Result<()> {
        self.member()?;
        while self.take("|") {
            self.member()?;
        }
        Ok(())
    }

    fn member(&mut self) -> Result<()> {
        let rest = self.rest();
        if rest.starts_with('{') {
            return self.nested(Self::record);
        }
        let part = |char: char| char.is_alphanumeric() || char == '_' || char == '.';
        let full = &rest[..rest.find(|char| !part(char)).unwrap_or(rest.len())];
        if full.is_empty() {
            return self.unexpected("a type");
        }
        let modules = ["typing.", "typing_extensions.", "builtins.", "datetime.", "decimal."];
        let name = modules.iter().find_map(|module| full.strip_prefix(module)).unwrap_or(full);
        let is_known = |names: &[&str]| names.contains(&name);
        if is_known(&PLAIN) {
            self.at += full.len();
        } else if is_known(&LISTS) {
            self.at += full.len();
            self.parameters(|count| count == 1, "one type")?;
        } else if is_known(&["dict", "Dict"]) {
            self.at += full.len();
            self.parameters(|count| count == 2, "two types")?;
        } else if is_known(&["Optional", "Union"]) {
            self.at += full.len();
            let fits = |count| count == 1 || name == "Union" && count > 1;
            if !self.parameters(fits, "a type")? {
                return self.unexpected("`[` and a type");
            }
        } else if is_known(&["tuple", "Tuple"]) {
            self.at += full.len();
            if self.rest().starts_with('[') {
                self.nested(Self::tuple)?;
            }
        } else if name == "Literal" {
            self.at += full.len();
            self.literal()?;
        } else {
            return self.fail(format!("unknown type `{full}`"));
        }
        match self.rest().starts_with('[') {
            true => self.fail(format!("`{full}` takes no more `[...]`")),
            false => Ok(()),
        }
    }

    /// `[A, B]`, if it comes next. Says whether it did.
    fn parameters(&mut self, fits: impl Fn(usize) -> bool, takes: &str) -> Result<bool> {
        if !self.rest().starts_with('[') {
            return Ok(false);
        }
        let mut count = 0;
        self.nested(|checker| {
            checker.take("[");
            while !checker.take("]") {
                checker.union()?;
                count += 1;
                if !checker.take(",") && !checker.rest().starts_with(']') {
                    return checker.unexpected("`,` or `]`");
                }
            }
            Ok(())
        })?;
        if fits(count) { Ok(true) } else { self.fail(format!("this takes {takes}, not {count}")) }
    }

    /// `[()]`, `[A, B]` or `[A, ...]`.
    fn tuple(&mut self) -> Result<()> {
        self.take("[");
        if self.take("(") {
            let is_empty = self.take(")") && self.take("]");
            return if is_empty { Ok(()) } else { self.unexpected("`)]`, as in `tuple[()]`") };
        }
        let mut count = 0;
        while !self.take("]") {
            if count == 1 && self.take("...") {
                return if self.take("]") { Ok(()) } else { self.unexpected("`]` after `...`") };
            }
            self.union()?;
            count += 1;
            if !self.take(",") && !self.rest().starts_with(']') {
                return self.unexpected("`,` or `]`");
            }
        }
        Ok(())
    }

    fn record(&mut self) -> Result<()> {
        self.take("{");
        let mut keys = Vec::new();
        while !self.take("}") {
            let key = self.string("a key in quotes")?;
            if keys.contains(&key) {
                return self.fail(format!("the key `{key}` comes twice"));
            }
            keys.push(key);
            if !self.take(":") {
                return self.unexpected("`:` and a type");
            }
            let is_optional = self.take("NotRequired[");
            self.union()?;
            if is_optional && !self.take("]") {
                return self.unexpected("`]` after the type in `NotRequired[...]`");
            }
            if !self.take(",") && !self.rest().starts_with('}') {
                return self.unexpected("`,` or `}`");
            }
        }
        Ok(())
    }

    fn literal(&mut self) -> Result<()> {
        if !self.take("[") {
            return self.unexpected("`[` and the options after `Literal`");
        }
        let mut is_empty = true;
        while !self.take("]") {
            is_empty = false;
            let rest = self.rest();
            if rest.starts_with(['"', '\'']) {
                self.string("a text")?;
            } else {
                let part = |char: char| char.is_alphanumeric() || "+-._".contains(char);
                let word = &rest[..rest.find(|char| !part(char)).unwrap_or(rest.len())];
                let digits = word.strip_prefix(['+', '-']).unwrap_or(word);
                let is_int = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
                if !is_int && !["None", "True", "False"].contains(&word) {
                    return self.unexpected("a text in quotes, an int, True, False or None");
                }
                self.at += word.len();
            }
            if !self.take(",") && !self.rest().starts_with(']') {
                return self.unexpected("`,` or `]`");
            }
        }
        if is_empty { self.fail("`Literal` needs at least one option".to_owned()) } else { Ok(()) }
    }

    /// What is between the quotes that come next.
    fn string(&mut self, expected: &str) -> Result<&'a str> {
        let rest = self.rest();
        let Some(quote) = rest.chars().next().filter(|char| ['"', '\''].contains(char)) else {
            return self.unexpected(expected);
        };
        let mut is_escaped = false;
        for (index, char) in rest.char_indices().skip(1) {
            match char {
                '\n' | '\r' => break,
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                char if char == quote => {
                    self.at += index + 1;
                    return Ok(&rest[1..index]);
                }
                _ => {}
            }
        }
        self.fail("a text that does not end".to_owned())
    }

    fn nested(&mut self, inside: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(format!("types are nested deeper than {MAX_DEPTH} levels"));
        }
        inside(self)?;
        self.depth -= 1;
        Ok(())
    }

    /// What is left, without leading white space.
    fn rest(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let trimmed = rest.trim_start();
        self.at += rest.len() - trimmed.len();
        trimmed
    }

    fn take(&mut self, token: &str) -> bool {
        let is_found = self.rest().starts_with(token);
        self.at += if is_found { token.len() } else { 0 };
        is_found
    }

    fn unexpected<T>(&mut self, expected: &str) -> Result<T> {
        let rest = self.rest();
        let length = rest.chars().take_while(|char| char.is_alphanumeric() || *char == '_').count().max(1);
        let found: String = rest.chars().take(length).collect();
        match found.as_str() {
            "" => self.fail(format!("expected {expected}, found the end")),
            found => self.fail(format!("expected {expected}, found `{found}`")),
        }
    }

    fn fail<T>(&self, message: String) -> Result<T> {
        Err((self.at, message))
    }
}
