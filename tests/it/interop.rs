//! The real Butler and we: each opens, reads and changes what the other wrote.

use crate::world::{ALL, Home, butler, oracle};

#[test]
fn the_butler_accepts_what_we_wrote() {
    for version in ["b29", "b30"] {
        let Some(python) = butler(version) else { continue };
        for db in ALL {
            let Some(home) = Home::new(db) else { continue };
            home.sample(&["--exposures", "20", "--nights", "2"]);
            crate::world::run(&mut home.campaign()).ok();
            let other = Home::new(crate::world::Db::Sqlite).expect("SQLite is always there");
            other.create();
            let out = oracle(&python, "accept.py", &[&home.repo(), &other.repo(), &home.at("scratch")]);
            assert!(out.ends_with("accepted\n"), "{version}, {:?}: {out}", home.db());
        }
    }
}
