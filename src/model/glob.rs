//! Name patterns with the semantics of Python's `fnmatch`, as in the Butler; `*` also matches `/`.

/// Returns true if a text contains `*`, `?` or `[`.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Returns true if the complete `name` matches `pattern`, case-sensitively.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // The position to backtrack to: after the last star in the pattern, and where that star began to match.
    let (mut p, mut n, mut star) = (0, 0, None);
    while n < name.len() {
        match step(&pattern[p..], name[n]) {
            Some(Piece::Star) => {
                star = Some((p + 1, n));
                p += 1;
            }
            Some(Piece::One(width)) => {
                p += width;
                n += 1;
            }
            None => match star {
                Some((after, eaten)) => {
                    star = Some((after, eaten + 1));
                    (p, n) = (after, eaten + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

enum Piece {
    Star,
    One(usize),
}

/// Matches the first element of a pattern against one character.
fn step(pattern: &[char], c: char) -> Option<Piece> {
    match pattern.first()? {
        '*' => Some(Piece::Star),
        '?' => Some(Piece::One(1)),
        '[' => match set(pattern) {
            Some((width, negated, members)) => (contains(members, c) != negated).then_some(Piece::One(width)),
            None => (c == '[').then_some(Piece::One(1)),
        },
        head => (*head == c).then_some(Piece::One(1)),
    }
}

/// Parses a set such as `[abc]` or `[!a-z]` at the start: its width, whether it is negated, its members.
fn set(pattern: &[char]) -> Option<(usize, bool, &[char])> {
    let negated = pattern.get(1) == Some(&'!');
    let start = if negated { 2 } else { 1 };
    // A closing bracket directly after the opening one is a member.
    let end = pattern.iter().enumerate().skip(start + 1).find(|(_, c)| **c == ']')?.0;
    Some((end + 1, negated, &pattern[start..end]))
}

fn contains(members: &[char], c: char) -> bool {
    let mut i = 0;
    while i < members.len() {
        if i + 2 < members.len() && members[i + 1] == '-' {
            if (members[i]..=members[i + 2]).contains(&c) {
                return true;
            }
            i += 3;
        } else if members[i] == c {
            return true;
        } else {
            i += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn follows_fnmatch() {
        for (pattern, name, want) in [
            ("*", "a/b", true),
            ("LSSTComCam/calib/*", "LSSTComCam/calib/DM-1/x", true),
            ("u/?", "u/x", true),
            ("u/?", "u/xy", false),
            ("[ab]c", "bc", true),
            ("[!ab]c", "bc", false),
            ("[a-c]x", "bx", true),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("RAW", "raw", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }
}
