//! The grammar of the Butler's query expressions.

use super::error_at;
use super::lexer::{Token, TokenKind, lex};
use crate::error::Result;

/// A node of an expression, and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// What the node is.
    pub kind: NodeKind,
    /// The offset of its first character, in characters from 0.
    pub at: usize,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NodeKind {
    /// `OR` or `AND` of conditions.
    Logical(&'static str, Vec<Node>),
    /// `NOT` of a condition.
    Not(Box<Node>),
    /// A comparison, or `OVERLAPS`.
    Compare(String, Box<Node>, Box<Node>),
    /// `IN` with its items.
    In(Box<Node>, Vec<Node>),
    /// `+ - * / %`.
    Arithmetic(String, Box<Node>, Box<Node>),
    /// A sign in front of a value; true for minus.
    Sign(bool, Box<Node>),
    /// Two values in parentheses: a timespan.
    Pair(Box<Node>, Box<Node>),
    /// A number as written.
    Number(String),
    /// A text.
    Text(String),
    /// The inside of a time literal.
    Time(String),
    /// Begin, end (inclusive) and stride.
    Range(i64, i64, i64),
    /// A name, or names with dots.
    Name(String),
    /// The name of a bind.
    Bind(String),
    /// A function, with its name in upper case.
    Call(String, Vec<Node>),
}

/// Parses an expression; `None` for a blank one.
///
/// # Errors
/// `Kind::Invalid` at the first token that the grammar does not allow.
pub(super) fn parse(text: &str) -> Result<Option<Node>> {
    let mut parser = Parser { tokens: lex(text)?, next: 0, text, depth: 0 };
    if parser.tokens[0].kind == TokenKind::End {
        return Ok(None);
    }
    let node = parser.disjunction()?;
    match parser.peek().kind {
        TokenKind::End => Ok(Some(node)),
        _ => Err(parser.unexpected()),
    }
}

/// The deepest nesting of an expression.
const DEEPEST: usize = 200;

struct Parser<'a> {
    tokens: Vec<Token>,
    next: usize,
    text: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next]
    }

    /// Whether the next token is this keyword or symbol.
    fn is(&self, word: &str) -> bool {
        let token = self.peek();
        matches!(token.kind, TokenKind::Keyword | TokenKind::Symbol) && token.text == word
    }

    /// The next token; the end is not passed.
    fn take(&mut self) -> Token {
        let token = self.peek().clone();
        self.next += usize::from(token.kind != TokenKind::End);
        token
    }

    fn accept(&mut self, word: &str) -> bool {
        let is = self.is(word);
        self.next += usize::from(is);
        is
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.accept(word) { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The error at the next token.
    fn unexpected(&self) -> crate::error::Error {
        let token = self.peek();
        let message = match token.kind {
            TokenKind::End => "InvalidQueryError: the expression ends too early".to_owned(),
            _ => format!("InvalidQueryError: syntax error at or near '{}'", token.text),
        };
        error_at(message, self.text, token.at)
    }

    fn disjunction(&mut self) -> Result<Node> {
        let depth = self.depth;
        self.deeper()?;
        let mut nodes = vec![self.conjunction()?];
        while self.accept("OR") {
            nodes.push(self.conjunction()?);
        }
        self.depth = depth;
        Ok(joined("OR", nodes))
    }

    fn conjunction(&mut self) -> Result<Node> {
        let mut nodes = vec![self.negation()?];
        while self.accept("AND") {
            nodes.push(self.negation()?);
        }
        Ok(joined("AND", nodes))
    }

    /// Counts a level of the tree, whose depth is limited.
    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(error_at("the expression is nested too deeply".to_owned(), self.text, self.peek().at));
        }
        Ok(())
    }

    fn negation(&mut self) -> Result<Node> {
        let at = self.peek().at;
        let mut negations = 0;
        while self.accept("NOT") {
            self.deeper()?;
            negations += 1;
        }
        let mut node = self.comparison()?;
        for _ in 0..negations {
            node = Node { kind: NodeKind::Not(Box::new(node)), at };
        }
        Ok(node)
    }

    fn comparison(&mut self) -> Result<Node> {
        let mut node = self.predicate()?;
        while ["=", "!=", "<", "<=", ">", ">=", "OVERLAPS"].into_iter().any(|op| self.is(op)) {
            let op = self.take().text;
            self.deeper()?;
            let right = self.predicate()?;
            node = Node { at: node.at, kind: NodeKind::Compare(op, Box::new(node), Box::new(right)) };
        }
        Ok(node)
    }

    fn predicate(&mut self) -> Result<Node> {
        let node = self.sum()?;
        let at = node.at;
        let negated = self.accept("NOT");
        if !self.accept("IN") {
            return if negated { Err(self.unexpected()) } else { Ok(node) };
        }
        self.expect("(")?;
        let mut items = vec![self.item()?];
        while self.accept(",") {
            items.push(self.item()?);
        }
        self.expect(")")?;
        let member = Node { kind: NodeKind::In(Box::new(node), items), at };
        Ok(if negated { Node { kind: NodeKind::Not(Box::new(member)), at } } else { member })
    }

    /// An item of IN: a literal, a name, a bind or a function.
    fn item(&mut self) -> Result<Node> {
        let at = self.peek().at;
        if self.is("+") || self.is("-") {
            let minus = self.take().text == "-";
            if self.peek().kind != TokenKind::Number {
                return Err(self.unexpected());
            }
            let number = Box::new(self.operand()?);
            return Ok(Node { kind: NodeKind::Sign(minus, number), at });
        }
        match self.peek().kind {
            TokenKind::Qualified | TokenKind::Symbol => Err(self.unexpected()),
            _ => self.operand(),
        }
    }

    fn sum(&mut self) -> Result<Node> {
        let mut node = self.product()?;
        while self.is("+") || self.is("-") {
            let op = self.take().text;
            self.deeper()?;
            node = arithmetic(op, node, self.product()?);
        }
        Ok(node)
    }

    fn product(&mut self) -> Result<Node> {
        let mut node = self.signed()?;
        while self.is("*") || self.is("/") || self.is("%") {
            let op = self.take().text;
            self.deeper()?;
            node = arithmetic(op, node, self.signed()?);
        }
        Ok(node)
    }

    fn signed(&mut self) -> Result<Node> {
        let mut signs = Vec::new();
        while self.is("+") || self.is("-") {
            signs.push(self.take());
            self.deeper()?;
        }
        let mut node = self.operand()?;
        for sign in signs.into_iter().rev() {
            node = Node { kind: NodeKind::Sign(sign.text == "-", Box::new(node)), at: sign.at };
        }
        Ok(node)
    }

    fn operand(&mut self) -> Result<Node> {
        let at = self.peek().at;
        if self.accept("(") {
            let mut node = self.disjunction()?;
            if self.accept(",") {
                let second = self.disjunction()?;
                node = Node { kind: NodeKind::Pair(Box::new(node), Box::new(second)), at };
            }
            self.expect(")")?;
            return Ok(node);
        }
        if matches!(self.peek().kind, TokenKind::End | TokenKind::Symbol | TokenKind::Keyword) {
            return Err(self.unexpected());
        }
        let token = self.take();
        let kind = match token.kind {
            TokenKind::Name if self.accept("(") => NodeKind::Call(token.text.to_uppercase(), self.arguments()?),
            TokenKind::Name | TokenKind::Qualified => NodeKind::Name(token.text),
            TokenKind::Bind => NodeKind::Bind(token.text),
            TokenKind::Number => NodeKind::Number(token.text),
            TokenKind::Time => NodeKind::Time(token.text),
            TokenKind::Range(begin, end, stride) => NodeKind::Range(begin, end, stride),
            _ => NodeKind::Text(token.text),
        };
        Ok(Node { kind, at })
    }

    /// The arguments after an opening parenthesis.
    fn arguments(&mut self) -> Result<Vec<Node>> {
        let mut arguments = Vec::new();
        if !self.is(")") {
            arguments.push(self.disjunction()?);
            while self.accept(",") {
                arguments.push(self.disjunction()?);
            }
        }
        self.expect(")")?;
        Ok(arguments)
    }
}

/// One node for all operands; a single operand is the node.
fn joined(op: &'static str, mut nodes: Vec<Node>) -> Node {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => Node { at: nodes[0].at, kind: NodeKind::Logical(op, nodes) },
    }
}

fn arithmetic(op: String, left: Node, right: Node) -> Node {
    Node { at: left.at, kind: NodeKind::Arithmetic(op, Box::new(left), Box::new(right)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The message and the offset of a syntax error.
    fn wrong(text: &str) -> String {
        parse(text).unwrap_err().message().to_owned()
    }

    #[test]
    fn not_takes_a_comparison() {
        let Some(Node { kind: NodeKind::Logical("AND", nodes), .. }) = parse("NOT a = 1 AND b = 2").unwrap() else {
            panic!("AND binds less than NOT");
        };
        assert!(matches!(&nodes[0].kind, NodeKind::Not(inner) if matches!(inner.kind, NodeKind::Compare(..))));
        assert_eq!(parse(" \n").unwrap(), None);
    }

    #[test]
    fn syntax_errors_are_located() {
        assert_eq!(wrong("seq_num == 1"), "InvalidQueryError: syntax error at or near '=' (position 10)");
        assert_eq!(wrong("seq_num ="), "InvalidQueryError: the expression ends too early (position 10)");
        assert_eq!(wrong("a = 1\n b"), "InvalidQueryError: syntax error at or near 'b' (line 2, position 2)");
        for text in ["a IN ()", "a IN ((1))", "a IN (1+1)", "a IN (b.c)", "(a = 1", "a NOT 1", "a IN (1,)", "AND a"] {
            assert!(wrong(text).starts_with("InvalidQueryError"), "{text}");
        }
        assert!(parse(&"(".repeat(10_000)).is_err());
    }
}
