//! Works around sqlparser's precedence of ``IS [NOT] DISTINCT FROM``, whose right side would include AND and OR. A custom
//! operator replaces its tokens, and binds as IS does: weaker than comparisons, stronger than NOT, AND and OR.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{BinaryOperator, Expr, VisitorMut};
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan};

use crate::engine::sql::tokens::is_blank;

/// The custom operator for IS DISTINCT FROM.
const DISTINCT: &str = "IS DISTINCT FROM";
/// The custom operator for IS NOT DISTINCT FROM.
const SAME: &str = "IS NOT DISTINCT FROM";

/// Replaces `IS [NOT] DISTINCT FROM` by the custom operators.
pub(crate) fn rewrite_tokens(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    use Keyword as K;
    let significant: Vec<usize> = (0..tokens.len()).filter(|i| !is_blank(&tokens[*i].token)).collect();
    let is = |at: usize, wanted: K| {
        let token = significant.get(at).map(|i| &tokens[*i].token);
        matches!(token, Some(Token::Word(word)) if word.keyword == wanted && word.quote_style.is_none())
    };
    let follows = |at: usize, words: &[K]| words.iter().enumerate().all(|(n, word)| is(at + n, *word));
    let mut found = Vec::new();
    for at in 0..significant.len() {
        if follows(at, &[K::IS, K::DISTINCT, K::FROM]) {
            found.push((significant[at], significant[at + 2], DISTINCT));
        } else if follows(at, &[K::IS, K::NOT, K::DISTINCT, K::FROM]) {
            found.push((significant[at], significant[at + 3], SAME));
        }
    }
    for (first, last, name) in found.into_iter().rev() {
        let span = tokens[first].span;
        let operator = TokenWithSpan { token: Token::CustomBinaryOperator(name.to_owned()), span };
        tokens.splice(first..=last, [operator]);
    }
    tokens
}

/// Replaces the custom operators in the syntax tree by `IS [NOT] DISTINCT FROM`.
#[derive(Debug)]
pub(crate) struct AsWritten;

impl VisitorMut for AsWritten {
    type Break = ();

    fn post_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
        if let Expr::BinaryOp { left, op: BinaryOperator::Custom(name), right } = expr {
            let (left, right) = (left.clone(), right.clone());
            match name.as_str() {
                DISTINCT => *expr = Expr::IsDistinctFrom(left, right),
                SAME => *expr = Expr::IsNotDistinctFrom(left, right),
                _ => {}
            }
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::sql::sqlparser::ast::VisitMut;
    use datafusion::sql::sqlparser::parser::Parser;

    use super::*;
    use crate::engine::sql::tokens::{DIALECT, tokenize};

    /// The expression with all operators in parentheses.
    fn grouped(sql: &str) -> String {
        let tokens = rewrite_tokens(tokenize(sql).unwrap());
        let mut expr = Parser::new(&DIALECT).with_tokens_with_locations(tokens).parse_expr().expect(sql);
        let _ = expr.visit(&mut AsWritten);
        parenthesized(&expr)
    }

    fn parenthesized(expr: &Expr) -> String {
        match expr {
            Expr::BinaryOp { left, op, right } => format!("({} {op} {})", parenthesized(left), parenthesized(right)),
            Expr::UnaryOp { op, expr } => format!("({op} {})", parenthesized(expr)),
            Expr::IsDistinctFrom(left, right) => format!("({} <> {})", parenthesized(left), parenthesized(right)),
            Expr::IsNotDistinctFrom(left, right) => format!("({} == {})", parenthesized(left), parenthesized(right)),
            other => other.to_string(),
        }
    }

    #[test]
    fn it_binds_stronger_than_the_logical_operators() {
        assert_eq!(grouped("a IS DISTINCT FROM b AND c"), "((a <> b) AND c)");
        assert_eq!(grouped("a OR b IS NOT DISTINCT FROM c OR d"), "((a OR (b == c)) OR d)");
        assert_eq!(grouped("NOT a IS DISTINCT FROM b"), "(NOT (a <> b))");
        assert_eq!(grouped("a + 1 IS DISTINCT FROM b * 2"), "((a + 1) <> (b * 2))");
        assert_eq!(grouped("a /* IS */ IS -- so\n DISTINCT FROM b"), "(a <> b)");
        assert_eq!(grouped("'x IS DISTINCT FROM y'"), "'x IS DISTINCT FROM y'");
    }
}
