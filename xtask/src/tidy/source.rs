//! What a source file says, as far as the house rules ask: the paths it names, and the words they forbid.
//!
//! Files are read as tokens rather than syntax trees: a path inside a macro's arguments is a path too. Comments
//! and strings are no tokens, and code for tests alone is left out.

use anyhow::{Result, anyhow};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// One file's code outside tests.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Every path of two or more segments, and every imported one.
    pub(super) paths: Vec<Path>,
    /// Words with a meaning to a rule: `unsafe`, `unwrap()`, `todo!`.
    pub(super) words: Vec<Word>,
    /// Where something follows the tests.
    pub(super) after_tests: Option<usize>,
}

/// A path, as `crate::bpf::Insn` or `std::fs::read`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) segments: Vec<String>,
    pub(super) line: usize,
    /// The name it has in the file from then on, if a `use` brought it in; `*` for all that is in it.
    pub(super) imported_as: Option<String>,
    /// The modules in the file that it stands in, outermost first.
    pub(super) within: Vec<String>,
}

/// A word, with its call's parentheses or its macro's exclamation mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Source {
    /// # Errors
    /// If the text isn't made of Rust's tokens.
    pub(super) fn read(text: &str) -> Result<Source> {
        let tokens: TokenStream = text.parse().map_err(|error| anyhow!("{error}"))?;
        let mut source = Source::default();
        source.walk(tokens, &[]);
        Ok(source)
    }

    fn walk(&mut self, tokens: TokenStream, within: &[String]) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, within);
        }
    }

    /// Takes what begins at `at`, and says where the next thing does.
    fn step(&mut self, tokens: &[TokenTree], at: usize, within: &[String]) -> usize {
        match &tokens[at] {
            TokenTree::Punct(mark) if mark.as_char() == '#' => self.attribute(tokens, at, within),
            TokenTree::Group(group) => {
                self.walk(group.stream(), within);
                at + 1
            }
            TokenTree::Ident(word) => match word.to_string().as_str() {
                "use" => {
                    let end = position(tokens, at, |token| is_mark(token, ';'));
                    self.imports(&tokens[at + 1..end], &[], within);
                    end + 1
                }
                "mod" => self.module(tokens, at, within),
                _ => self.path(tokens, at, within),
            },
            _ => at + 1,
        }
    }

    fn attribute(&mut self, tokens: &[TokenTree], at: usize, within: &[String]) -> usize {
        let inner = tokens.get(at + 1).is_some_and(|token| is_mark(token, '!'));
        let group = at + 1 + usize::from(inner);
        let Some(TokenTree::Group(attribute)) = tokens.get(group) else {
            return at + 1;
        };
        if !is_test_attribute(attribute) {
            self.walk(attribute.stream(), within);
            return group + 1;
        }
        if inner {
            return tokens.len();
        }
        let is_module = position(tokens, group, |token| is_word(token, "mod"));
        let end = end_of_item(tokens, group + 1);
        if within.is_empty() && is_module < end {
            self.after_tests = tokens.get(end).map(|token| token.span().start().line);
        }
        end
    }

    fn module(&mut self, tokens: &[TokenTree], at: usize, within: &[String]) -> usize {
        if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
            (tokens.get(at + 1), tokens.get(at + 2))
        {
            let within = [within, &[name.to_string()]].concat();
            self.walk(body.stream(), &within);
            return at + 3;
        }
        at + 1
    }

    /// A path or word in code.
    fn path(&mut self, tokens: &[TokenTree], at: usize, within: &[String]) -> usize {
        let line = tokens[at].span().start().line;
        let mut segments = vec![tokens[at].to_string()];
        let mut end = at + 1;
        while let Some(TokenTree::Ident(segment)) = after_colons(tokens, end) {
            segments.push(segment.to_string());
            end += 3;
        }
        let follows = |mark| tokens.get(end).is_some_and(|token| is_mark(token, mark));
        let called = matches!(tokens.get(end), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis);
        let word = segments.last().map_or("", String::as_str);
        let text = if follows('!') {
            format!("{word}!")
        } else if called {
            format!("{word}()")
        } else {
            word.to_owned()
        };
        self.words.push(Word { text, line });
        if segments.len() > 1 {
            self.paths.push(Path {
                segments,
                line,
                imported_as: None,
                within: within.to_vec(),
            });
        }
        end
    }

    /// The tree of a `use`: paths that share a beginning.
    fn imports(&mut self, tree: &[TokenTree], begin: &[String], within: &[String]) {
        let mut segments = begin.to_vec();
        let mut imported_as = None;
        let line = tree.first().map_or(0, |token| token.span().start().line);
        let mut at = 0;
        while at < tree.len() {
            match &tree[at] {
                TokenTree::Group(group) => {
                    let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in branches.split(|token| is_mark(token, ',')) {
                        self.imports(branch, &segments, within);
                    }
                    return;
                }
                TokenTree::Ident(word) if word == "as" => {
                    imported_as = tree.get(at + 1).map(ToString::to_string);
                    break;
                }
                TokenTree::Ident(word) if word == "self" && !segments.is_empty() => {}
                TokenTree::Ident(word) => segments.push(word.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == '*' => {
                    imported_as = Some("*".to_owned());
                }
                _ => {}
            }
            at += 1;
        }
        if !tree.is_empty() {
            self.paths.push(Path {
                imported_as: imported_as.or_else(|| segments.last().cloned()),
                segments,
                line,
                within: within.to_vec(),
            });
        }
    }
}

fn is_test_attribute(attribute: &Group) -> bool {
    matches!(
        attribute.stream().to_string().as_str(),
        "test" | "cfg (test)" | "cfg(test)"
    )
}

/// Behind the item whose attributes, or itself, begin at `at`.
fn end_of_item(tokens: &[TokenTree], at: usize) -> usize {
    let is_end = |token: &TokenTree| match token {
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
        token => is_mark(token, ';'),
    };
    (position(tokens, at, is_end) + 1).min(tokens.len())
}

/// Of the first from `at` on that is such, or the length.
fn position(tokens: &[TokenTree], at: usize, is_such: impl Fn(&TokenTree) -> bool) -> usize {
    let found = tokens.iter().skip(at).position(is_such);
    found.map_or(tokens.len(), |found| at + found)
}

fn after_colons(tokens: &[TokenTree], at: usize) -> Option<&TokenTree> {
    let both = tokens.get(at..at + 2)?;
    both.iter()
        .all(|token| is_mark(token, ':'))
        .then(|| tokens.get(at + 2))?
}

fn is_mark(token: &TokenTree, mark: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == mark)
}

fn is_word(token: &TokenTree, word: &str) -> bool {
    matches!(token, TokenTree::Ident(ident) if ident == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let source = Source::read(text).unwrap();
        source
            .paths
            .iter()
            .map(|path| path.segments.join("::"))
            .collect()
    }

    #[test]
    fn a_tree_of_imports_is_its_paths() {
        assert_eq!(
            paths(
                "pub use crate::{bpf::{self, Insn as I}, arch::*, Call}; use std::fmt::Write as _;"
            ),
            [
                "crate::bpf",
                "crate::bpf::Insn",
                "crate::arch",
                "crate::Call",
                "std::fmt::Write"
            ]
        );
        let source = Source::read("use a::{b as c, d::*};").unwrap();
        let names: Vec<_> = source
            .paths
            .iter()
            .map(|path| path.imported_as.as_deref())
            .collect();
        assert_eq!(names, [Some("c"), Some("*")]);
    }

    #[test]
    fn paths_are_found_in_code_and_in_macros() {
        assert_eq!(
            paths("fn f() -> std::io::Result<()> { println!(\"{}\", crate::policy::x::<u8>(1)) }"),
            ["std::io::Result", "crate::policy::x"]
        );
        assert_eq!(
            paths("// crate::policy\nconst A: &str = \"crate::policy::B\";"),
            [""; 0]
        );
    }

    #[test]
    fn tests_are_left_out_and_come_last() {
        let tests = "#[cfg(test)] mod tests { use crate::decision::Graph; fn f() { x.unwrap() } }";
        let source = Source::read(tests).unwrap();
        assert!(source.paths.is_empty() && source.words.is_empty() && source.after_tests.is_none());
        let source = Source::read(&format!("{tests}\nfn late() {{}}")).unwrap();
        assert_eq!(source.after_tests, Some(2));
    }

    #[test]
    fn words_have_their_lines() {
        let source = Source::read("fn f() {\n a.unwrap();\n todo!()\n}").unwrap();
        let word = |text: &str| {
            source
                .words
                .iter()
                .find(|word| word.text == text)
                .map(|word| word.line)
        };
        assert_eq!(
            (word("unwrap()"), word("todo!"), word("unsafe")),
            (Some(2), Some(3), None)
        );
    }
}
