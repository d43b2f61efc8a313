//! Works around sqlparser: in `x IN ((SELECT …), y)`, the parser takes the leading subquery for the complete list.

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use crate::engine::sql::tokens::is_blank;

/// Wraps a subquery at the start of an IN list in `coalesce`, so that it parses as a value:
/// `x IN (coalesce((SELECT …)), y)`.
pub(crate) fn rewrite_tokens(mut tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let significant: Vec<usize> = (0..tokens.len()).filter(|i| !is_blank(&tokens[*i].token)).collect();
    let token = |at: usize| significant.get(at).map(|i| &tokens[*i].token);
    let keyword = |at: usize| match token(at) {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let mut values = Vec::new();
    for at in 0..significant.len() {
        let opens = [1, 2].iter().all(|next| token(at + next) == Some(&Token::LParen));
        if keyword(at) != Keyword::IN || !opens || !matches!(keyword(at + 3), Keyword::SELECT | Keyword::WITH) {
            continue;
        }
        let mut depth = 0;
        let close = (at + 2..significant.len()).find(|at| {
            depth += match token(*at) {
                Some(Token::LParen) => 1,
                Some(Token::RParen) => -1,
                _ => 0,
            };
            depth == 0
        });
        if let Some(close) = close.filter(|close| token(close + 1) == Some(&Token::Comma)) {
            values.push((significant[at + 2], significant[close]));
        }
    }
    let mut more: Vec<(usize, Vec<Token>)> = Vec::new();
    for (open, close) in values {
        more.push((open, vec![Token::make_word("coalesce", None), Token::LParen]));
        more.push((close + 1, vec![Token::RParen]));
    }
    more.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (at, added) in more {
        let span: Span = tokens[at.min(tokens.len() - 1)].span;
        tokens.splice(at..at, added.into_iter().map(|token| TokenWithSpan { token, span }));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::sql::tokens::tokenize;

    fn respelled(sql: &str) -> String {
        rewrite_tokens(tokenize(sql).unwrap()).iter().map(|token| token.token.to_string()).collect()
    }

    #[test]
    fn a_subquery_at_the_beginning_of_a_list_is_a_value() {
        assert_eq!(
            respelled("a IN ((SELECT f((1)) FROM t), 2, (SELECT 3))"),
            "a IN (coalesce((SELECT f((1)) FROM t)), 2, (SELECT 3))"
        );
        assert_eq!(
            respelled("a in ((SELECT 1 WHERE 2 IN ((SELECT 2), 3)), 4)"),
            "a in (coalesce((SELECT 1 WHERE 2 IN (coalesce((SELECT 2)), 3))), 4)"
        );
        for same in ["a IN ((SELECT 1))", "a IN ((SELECT 1) UNION (SELECT 2))", "a IN ((1), 2)"] {
            assert_eq!(respelled(same), same);
        }
    }
}
