//! Rust source, taken apart as far as counting words needs: code, comments and literals.

/// The code of a file, and beside it its comments, line by line.
#[derive(Clone, Debug)]
pub struct RustText {
    /// The code of each line. Comments are gone, literals are empty.
    pub code: Vec<String>,
    /// The comments of each line.
    pub comments: Vec<String>,
}

impl RustText {
    /// Splits `source`.
    pub fn new(source: &str) -> Self {
        let mut scanner = Scanner {
            rest: source.chars().collect(),
            at: 0,
            text: Self { code: vec![String::new()], comments: vec![String::new()] },
        };
        scanner.run();
        scanner.text
    }

    /// Empties the lines of modules under `#[cfg(test)]`.
    pub fn without_tests(mut self) -> Self {
        let mut line = 0;
        while line < self.code.len() {
            if self.code[line].trim() == "#[cfg(test)]" {
                line = self.blank_item(line);
            } else {
                line += 1;
            }
        }
        self
    }

    /// Empties the item that begins at `line`; returns the line after it.
    fn blank_item(&mut self, mut line: usize) -> usize {
        let mut depth = 0_usize;
        while line < self.code.len() {
            let code = std::mem::take(&mut self.code[line]);
            line += 1;
            for c in code.chars() {
                match c {
                    '{' => depth += 1,
                    '}' => depth = depth.saturating_sub(1),
                    ';' if depth == 0 => return line,
                    _ => continue,
                }
                if c == '}' && depth == 0 {
                    return line;
                }
            }
        }
        line
    }
}

/// Whether `text` has `word` with no letter, digit or `_` around it.
pub(crate) fn has_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        !before.chars().next_back().is_some_and(part_of_word)
            && !after.chars().next().is_some_and(part_of_word)
    })
}

struct Scanner {
    rest: Vec<char>,
    at: usize,
    text: RustText,
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.text.code.push(String::new());
            self.text.comments.push(String::new());
        }
        Some(c)
    }

    fn skip(&mut self, count: usize) {
        (0..count).for_each(|_| {
            self.next();
        });
    }

    fn code(&mut self, c: char) {
        if c != '\n'
            && let Some(line) = self.text.code.last_mut()
        {
            line.push(c);
        }
    }

    fn comment(&mut self, c: char) {
        if c != '\n'
            && let Some(line) = self.text.comments.last_mut()
        {
            line.push(c);
        }
    }

    fn run(&mut self) {
        let mut before = ' ';
        while let Some(c) = self.peek(0) {
            let in_word = before.is_alphanumeric() || before == '_';
            match (c, self.peek(1)) {
                ('/', Some('/')) => self.line_comment(),
                ('/', Some('*')) => self.block_comment(),
                ('"', _) => self.string(),
                ('r', Some('"' | '#'))
                    if (!in_word || before == 'b' || before == 'c') && self.raw_string() => {}
                ('\'', _) => self.quote(),
                _ => {
                    if let Some(c) = self.next() {
                        self.code(c);
                    }
                }
            }
            before = c;
        }
    }

    fn line_comment(&mut self) {
        while let Some(c) = self.peek(0).filter(|c| *c != '\n') {
            self.comment(c);
            self.next();
        }
    }

    fn block_comment(&mut self) {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => depth += 1,
                (Some('*'), Some('/')) => depth -= 1,
                (None, _) => return,
                _ => {
                    if let Some(c) = self.next() {
                        self.comment(c);
                    }
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    fn string(&mut self) {
        self.next();
        while let Some(c) = self.next() {
            match c {
                '\\' => self.skip(1),
                '"' => break,
                _ => {}
            }
        }
        self.code('"');
        self.code('"');
    }

    /// Passes over a raw string, if one begins here.
    fn raw_string(&mut self) -> bool {
        let hashes = (1..).take_while(|n| self.peek(*n) == Some('#')).count();
        if self.peek(1 + hashes) != Some('"') {
            return false;
        }
        self.skip(2 + hashes);
        while let Some(c) = self.next() {
            if c == '"' && (0..hashes).all(|n| self.peek(n) == Some('#')) {
                self.skip(hashes);
                break;
            }
        }
        self.code('"');
        self.code('"');
        true
    }

    /// A character, or the mark of a lifetime.
    fn quote(&mut self) {
        self.next();
        let is_char = self.peek(0) == Some('\\') || self.peek(1) == Some('\'');
        self.code('\'');
        if !is_char {
            return;
        }
        if self.next() == Some('\\') {
            self.next();
        }
        while self.next().is_some_and(|c| c != '\'') {}
        self.code('\'');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> String {
        RustText::new(source).code.join("\n")
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        assert_eq!(code("a(\"unsafe\\\"x\") // unsafe"), "a(\"\") ");
        assert_eq!(code("a /* x /* y */ unsafe */ b"), "a  b");
        assert_eq!(code("f(r#\"unsafe \"quoted\" \"#, br\"x\")"), "f(\"\", b\"\")");
        assert_eq!(code("m('\"', '\\'', b'{') fn f<'a>(x: &'a str)"), "m('', '', b'') fn f<'a>(x: &'a str)");
        assert_eq!(code("let var = r; '\\u{7f}'"), "let var = r; ''");
    }

    #[test]
    fn lines_keep_their_numbers() {
        let text = RustText::new("a\n\"x\ny\"\n// c\nb");
        assert_eq!(text.code, ["a", "", "\"\"", "", "b"]);
        assert_eq!(text.comments[3], "// c");
    }

    #[test]
    fn test_modules_are_left_out() {
        let source =
            "a();\n#[cfg(test)]\nmod tests {\n  fn f() { b() }\n}\nc();\n#[cfg(test)]\nmod more;\nd();";
        let code: String = RustText::new(source).without_tests().code.concat();
        assert_eq!(code, "a();c();d();");
    }

    #[test]
    fn words_end_where_names_do() {
        assert!(has_word("x unsafe {", "unsafe"));
        assert!(!has_word("forbid(unsafe_code)", "unsafe"));
    }
}
