//! Random SELECTs over two tables of numbers and texts with NULLs; a seed gives one statement.

/// Values of columns and in statements; the last ones are at the limits of 64 bits.
pub const NUMBERS: [i64; 10] = [0, 1, 2, 3, 5, -1, 4_294_967_296, i64::MAX - 1, i64::MAX, i64::MIN + 1];
pub const TEXTS: [&str; 4] = ["a", "b", "c", ""];

/// The tables, which have the columns `k`, a number that is never NULL, `n`, a number, `s` and `g`, texts.
const TABLES: [&str; 2] = ["t", "u"];

/// Chance (SplitMix64, a public-domain generator).
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) >> 33).expect("31 bits") % end
    }

    pub fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    fn in_hundred(&mut self, share: usize) -> bool {
        self.below(100) < share
    }
}

/// A statement and what may be expected of it.
#[derive(Debug)]
pub struct Statement {
    pub sql: String,
    /// Whether its numbers may leave 64 bits, which SQLite makes floats of.
    pub computes: bool,
}

/// The statement of a seed.
pub fn statement(seed: u64) -> Statement {
    let mut writer = Writer { dice: Dice::new(seed), names: 0, scope: Vec::new(), computes: false };
    let sql = writer.query();
    Statement { sql, computes: writer.computes }
}

struct Writer {
    dice: Dice,
    names: usize,
    /// The tables that can be named, innermost last.
    scope: Vec<String>,
    computes: bool,
}

impl Writer {
    fn query(&mut self) -> String {
        let from = self.from();
        let filter = if self.dice.in_hundred(85) { format!(" WHERE {}", self.condition(3)) } else { String::new() };
        let inner = self.scope.clone();
        let mut items: Vec<String>;
        let mut group = String::new();
        match self.dice.below(4) {
            0 => {
                items = (0..=self.dice.below(2)).map(|_| self.aggregate()).collect();
                if self.dice.in_hundred(50) {
                    let key = format!("{}.{}", inner[0], self.dice.pick(&["g", "s", "n"]));
                    group = format!(" GROUP BY {key}");
                    items.push(key);
                }
                if self.dice.in_hundred(30) {
                    group.push_str(&format!(" HAVING {} {} {}", self.aggregate(), self.comparison(), self.literal()));
                }
            }
            _ => items = (0..=self.dice.below(2)).map(|_| self.item()).collect(),
        }
        let named: Vec<_> = items.iter().enumerate().map(|(at, item)| format!("{item} AS c{at}")).collect();
        let distinct = if group.is_empty() && self.dice.in_hundred(15) { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{} FROM {from}{filter}{group}", named.join(", "));
        if self.dice.in_hundred(20) {
            let order: Vec<_> = (1..=items.len()).map(|at| format!("{at} NULLS LAST")).collect();
            sql.push_str(&format!(" ORDER BY {} LIMIT {}", order.join(", "), self.dice.below(4)));
        }
        sql
    }

    fn item(&mut self) -> String {
        match self.dice.below(4) {
            0 => self.text(2),
            // Databases write truth differently.
            1 => {
                let condition = self.condition(2);
                format!("CASE WHEN {condition} THEN 'yes' WHEN NOT ({condition}) THEN 'no' ELSE 'unknown' END")
            }
            _ => self.number(2),
        }
    }

    fn name(&mut self) -> String {
        self.names += 1;
        format!("x{}", self.names)
    }

    fn enter(&mut self) -> (String, String) {
        let name = self.name();
        let table = self.dice.pick(&TABLES);
        self.scope.push(name.clone());
        (format!("{table} {name}"), name)
    }

    fn from(&mut self) -> String {
        let (mut from, first) = self.enter();
        if self.dice.in_hundred(25) {
            let (table, second) = self.enter();
            let how = self.dice.pick(&["JOIN", "LEFT JOIN"]);
            let column = self.dice.pick(&["k", "n", "s", "g"]);
            from.push_str(&format!(" {how} {table} ON {first}.{column} = {second}.{column}"));
            if self.dice.in_hundred(20) {
                from.push_str(&format!(" AND {}", self.condition(0)));
            }
        }
        from
    }

    fn column(&mut self, names: &[&str]) -> String {
        // Mostly of the innermost table: others make a subquery depend on those around it.
        let at = if self.dice.in_hundred(75) { self.scope.len() - 1 } else { self.dice.below(self.scope.len()) };
        format!("{}.{}", self.scope[at], self.dice.pick(names))
    }

    fn literal(&mut self) -> String {
        // PostgreSQL computes with 32 bits where literals are small.
        let number = NUMBERS[self.dice.below(NUMBERS.len())];
        format!("CAST({number} AS BIGINT)")
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 {
            return if self.dice.in_hundred(70) { self.column(&["k", "n", "n"]) } else { self.literal() };
        }
        match self.dice.below(15) {
            0..=5 => self.column(&["k", "n", "n"]),
            6 => self.literal(),
            7 => {
                self.computes = true;
                let operator = self.dice.pick(&["+", "-", "*"]);
                format!("({} {operator} {})", self.number(depth - 1), self.number(depth - 1))
            }
            8 => {
                let operator = self.dice.pick(&["/", "%"]);
                format!("({} {operator} CAST({} AS BIGINT))", self.number(depth - 1), self.dice.pick(&["2", "3", "-2"]))
            }
            9 => {
                let other =
                    if self.dice.in_hundred(50) { format!(" ELSE {}", self.number(depth - 1)) } else { String::new() };
                format!("CASE WHEN {} THEN {}{other} END", self.condition(depth - 1), self.number(depth - 1))
            }
            10 => format!(
                "{}({}, {})",
                self.dice.pick(&["coalesce", "nullif"]),
                self.number(depth - 1),
                self.number(depth - 1)
            ),
            11 => {
                self.computes = true;
                format!("(- {})", self.number(depth - 1))
            }
            12 => {
                let outside = self.scope.len();
                let (from, number) = (self.from(), self.own(&["k", "n"]));
                let filter = self.filter(depth - 1);
                self.scope.truncate(outside);
                let order = self.dice.pick(&["", " DESC"]);
                format!("(SELECT {number} FROM {from}{filter} ORDER BY 1{order} NULLS LAST LIMIT 1)")
            }
            _ => self.scalar(depth, Self::aggregate),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 || self.dice.in_hundred(60) {
            return self.column(&["s", "g"]);
        }
        match self.dice.below(5) {
            0 => format!("'{}'", self.dice.pick(&TEXTS)),
            1 => format!("({} || {})", self.text(depth - 1), self.text(depth - 1)),
            2 => format!("coalesce({}, '{}')", self.text(depth - 1), self.dice.pick(&TEXTS)),
            3 => format!("CASE WHEN {} THEN {} END", self.condition(depth - 1), self.text(depth - 1)),
            _ => self.scalar(depth, |writer| {
                let column = writer.own(&["s", "g"]);
                format!("{}({column})", writer.dice.pick(&["min", "max"]))
            }),
        }
    }

    fn own(&mut self, names: &[&str]) -> String {
        format!("{}.{}", self.scope[self.scope.len() - 1], self.dice.pick(names))
    }

    fn aggregate(&mut self) -> String {
        let column = self.own(&["k", "n"]);
        match self.dice.below(6) {
            0 => "count(*)".to_owned(),
            1 => format!("count({column})"),
            2 => format!("count(DISTINCT {column})"),
            3 => format!("min({column})"),
            4 => format!("max({column})"),
            _ => {
                self.computes = true;
                // PostgreSQL's sum has more digits.
                format!("CAST(sum({column}) AS BIGINT)")
            }
        }
    }

    /// A subquery with one value.
    fn scalar(&mut self, depth: usize, value: impl Fn(&mut Self) -> String) -> String {
        let outside = self.scope.len();
        let from = self.from();
        let value = value(self);
        let filter = self.filter(depth - 1);
        let having = match self.dice.below(10) {
            0 => format!(" HAVING {} {} {}", self.aggregate(), self.comparison(), self.literal()),
            _ => String::new(),
        };
        self.scope.truncate(outside);
        format!("(SELECT {value} FROM {from}{filter}{having})")
    }

    fn filter(&mut self, depth: usize) -> String {
        if self.dice.in_hundred(75) { format!(" WHERE {}", self.condition(depth)) } else { String::new() }
    }

    /// A subquery of rows of one number.
    fn listed(&mut self, depth: usize) -> String {
        let outside = self.scope.len();
        let from = self.from();
        let number = self.number(depth - 1);
        let filter = self.filter(depth - 1);
        let sql = match self.dice.below(8) {
            0 => format!("SELECT {} FROM {from}{filter}", self.aggregate()),
            1 => {
                let key = self.own(&["g", "s"]);
                let many = if self.dice.in_hundred(50) { " HAVING count(*) > 1" } else { "" };
                format!("SELECT {} FROM {from}{filter} GROUP BY {key}{many}", self.aggregate())
            }
            2 => {
                let other = self.dice.pick(&TABLES);
                let all = self.dice.pick(&["", " ALL"]);
                format!("SELECT {number} FROM {from}{filter} UNION{all} SELECT n FROM {other}")
            }
            3 => format!("SELECT DISTINCT {number} FROM {from}{filter}"),
            4 => {
                let offset = self.dice.pick(&["", "", " OFFSET 1"]);
                let limit = self.dice.below(4);
                format!("SELECT {number} FROM {from}{filter} ORDER BY 1 NULLS LAST LIMIT {limit}{offset}")
            }
            5 => {
                let (derived, inner) = (self.name(), self.own(&["g", "s", "n"]));
                let window = self.dice.pick(&["count(*)", "min(", "max("]);
                let window = if window == "count(*)" { window.to_owned() } else { format!("{window}{number})") };
                let sql =
                    format!("SELECT {number} AS n, {window} OVER (PARTITION BY {inner}) AS k FROM {from}{filter}");
                self.scope.truncate(outside);
                self.scope.push(derived.clone());
                let filter = format!("{} {} {}", self.own(&["k"]), self.comparison(), self.number(depth - 1));
                format!("SELECT {derived}.n FROM ({sql}) {derived} WHERE {filter}")
            }
            _ => format!("SELECT {number} FROM {from}{filter}"),
        };
        self.scope.truncate(outside);
        sql
    }

    fn comparison(&mut self) -> &'static str {
        self.dice.pick(&["=", "=", "<>", "<", "<=", ">", ">="])
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 {
            return match self.dice.below(3) {
                0 => format!("{} {} '{}'", self.column(&["s", "g"]), self.comparison(), self.dice.pick(&TEXTS)),
                1 => format!("{} IS {}NULL", self.column(&["n", "s", "g"]), self.dice.pick(&["", "NOT "])),
                _ => format!("{} {} {}", self.column(&["k", "n"]), self.comparison(), self.literal()),
            };
        }
        let not = self.dice.pick(&["", "NOT "]);
        match self.dice.below(16) {
            0 | 1 => format!("({} AND {})", self.condition(depth - 1), self.condition(depth - 1)),
            2 | 3 => format!("({} OR {})", self.condition(depth - 1), self.condition(depth - 1)),
            4 => format!("NOT ({})", self.condition(depth - 1)),
            5..=7 => {
                let value = if self.dice.in_hundred(15) { self.literal() } else { self.number(depth - 1) };
                format!("{value} {not}IN ({})", self.listed(depth))
            }
            8 | 9 => format!("{not}EXISTS ({})", self.listed(depth)),
            10 | 11 => {
                let list: Vec<_> = (0..=self.dice.below(3)).map(|_| self.number(depth - 1)).collect();
                // A subquery in parentheses of its own at the beginning would be the whole list.
                format!("{} {not}IN ({}, {})", self.number(depth - 1), self.literal(), list.join(", "))
            }
            12 => format!("{} {not}IN ('a', {})", self.text(depth - 1), self.text(depth - 1)),
            13 => format!("{} {not}BETWEEN {} AND {}", self.number(depth - 1), self.number(depth - 1), self.literal()),
            14 => format!("{} IS {not}DISTINCT FROM {}", self.number(depth - 1), self.number(depth - 1)),
            _ => format!("{} {} {}", self.number(depth - 1), self.comparison(), self.number(depth - 1)),
        }
    }
}

/// A statement of up to 5000 terms: branches of CASE, operands of OR or AND, values of IN.
pub fn long_statement(seed: u64) -> Statement {
    let mut dice = Dice::new(seed);
    let terms = 600 + dice.below(4400);
    let numbers: Vec<i64> =
        (0..terms).map(|at| i64::try_from(at * 7 + dice.below(5)).expect("a small number") - 9).collect();
    let each =
        |text: &dyn Fn(&i64) -> String, between: &str| numbers.iter().map(text).collect::<Vec<_>>().join(between);
    let sql = match dice.below(5) {
        0 => format!("SELECT k AS c0 FROM t WHERE {}", each(&|n| format!("n = {n}"), " OR ")),
        1 => format!("SELECT k AS c0 FROM t WHERE {}", each(&|n| format!("(n > {n} OR s = 'a')"), " AND ")),
        2 => format!("SELECT k AS c0 FROM t WHERE n NOT IN ({})", each(&ToString::to_string, ", ")),
        3 => {
            format!("SELECT CASE {} ELSE -1 END AS c0 FROM t", each(&|n| format!("WHEN n = {n} THEN {}", n % 17), " "))
        }
        _ => format!("SELECT CASE n {} END AS c0 FROM u", each(&|n| format!("WHEN {n} THEN 'v{n}'"), " ")),
    };
    Statement { sql, computes: false }
}
