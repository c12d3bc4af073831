//! An upper bound for the depth of a syntax tree, from the tokens alone.

use ruff_python_ast::token::TokenKind;
use ruff_python_parser::{Mode, lexer};

/// Bounds the depth of the tree `code` parses to; `None` where it cannot parse: a bad token, or brackets that
/// do not match.
///
/// A tree gets deep in three ways: brackets inside brackets, operators chained within one element (`a.b.c`,
/// `1 + 1 + 1`, `not not x`), and blocks inside blocks. So each open bracket keeps the length of the chain in
/// its current element, plus the deepest thing closed within that element, which a later operator may still
/// wrap.
pub(super) fn depth(code: &str) -> Option<usize> {
    let mut lexer = lexer::lex(code, Mode::Module);
    let mut open: Vec<Level> = Vec::new();
    let mut current = Level::new(TokenKind::EndOfFile);
    let (mut blocks, mut outer, mut deepest) = (0usize, 0usize, 0usize);
    loop {
        let kind = lexer.next_token();
        match kind {
            TokenKind::EndOfFile => return open.is_empty().then_some(deepest),
            TokenKind::Unknown => return None,
            TokenKind::Indent => blocks += 1,
            TokenKind::Dedent => blocks = blocks.saturating_sub(1),
            TokenKind::Newline => {
                if !open.is_empty() {
                    return None;
                }
                current = Level::new(TokenKind::EndOfFile);
            }
            TokenKind::Comma => current.next_element(),
            TokenKind::And | TokenKind::Or => current.next_operand(),
            _ if closer(kind).is_some() => {
                outer += 1 + current.chain;
                let inside = std::mem::replace(&mut current, Level::new(kind));
                open.push(inside);
            }
            _ if is_closer(kind) => {
                let parent = open.pop()?;
                if closer(current.opened_by) != Some(kind) {
                    return None;
                }
                outer = outer.saturating_sub(1 + parent.chain);
                let inside = 1 + current.total();
                current = parent;
                current.chain += 1;
                current.closed = current.closed.max(inside);
            }
            _ if lengthens(kind) => {
                current.chain += 1;
                current.wrapping |= matches!(kind, TokenKind::Lambda | TokenKind::If | TokenKind::Else);
                current.lambda |= kind == TokenKind::Lambda;
            }
            _ => {}
        }
        deepest = deepest.max(blocks + outer + current.total());
    }
}

struct Level {
    opened_by: TokenKind,
    chain: usize,
    closed: usize,
    finished: usize,
    wrapping: bool,
    lambda: bool,
}

impl Level {
    const fn new(opened_by: TokenKind) -> Self {
        Self { opened_by, chain: 0, closed: 0, finished: 0, wrapping: false, lambda: false }
    }

    fn total(&self) -> usize {
        self.finished.max(self.chain + self.closed)
    }

    /// Commas separate siblings, except the parameters of a lambda, whose body still follows.
    fn next_element(&mut self) {
        if !self.lambda {
            self.finished = self.total();
            self.chain = 0;
            self.closed = 0;
            self.wrapping = false;
        }
    }

    /// `and`/`or` bind looser than everything but conditionals and lambdas, and their operands are siblings.
    fn next_operand(&mut self) {
        if self.wrapping {
            self.chain += 1;
        } else {
            self.finished = self.total() + usize::from(self.finished == 0) * 2;
            self.chain = 0;
            self.closed = 0;
        }
    }
}

fn closer(kind: TokenKind) -> Option<TokenKind> {
    Some(match kind {
        TokenKind::Lpar => TokenKind::Rpar,
        TokenKind::Lsqb => TokenKind::Rsqb,
        TokenKind::Lbrace => TokenKind::Rbrace,
        TokenKind::FStringStart => TokenKind::FStringEnd,
        TokenKind::TStringStart => TokenKind::TStringEnd,
        _ => return None,
    })
}

fn is_closer(kind: TokenKind) -> bool {
    matches!(
        kind,
        TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace | TokenKind::FStringEnd | TokenKind::TStringEnd
    )
}

/// Tokens that may add a level to the tree. Everything does that is not known to be a leaf.
fn lengthens(kind: TokenKind) -> bool {
    !matches!(
        kind,
        TokenKind::Name
            | TokenKind::Int
            | TokenKind::Float
            | TokenKind::Complex
            | TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::Comment
            | TokenKind::NonLogicalNewline
            | TokenKind::Colon
            | TokenKind::Ellipsis
            | TokenKind::None
            | TokenKind::True
            | TokenKind::False
    )
}
