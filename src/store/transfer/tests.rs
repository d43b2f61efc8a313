use std::os::unix::fs::symlink;

use super::*;

fn location(path: impl AsRef<Path>) -> Location {
    Location::parse(path.as_ref().to_str().unwrap()).unwrap()
}

async fn brought(transfers: &[Transfer]) -> Result<Vec<Location>> {
    let mut made = Vec::new();
    match transfer_all(transfers, &mut made).await {
        Ok(()) => Ok(made),
        Err(e) => {
            rollback(&made).await;
            Err(e)
        }
    }
}

#[tokio::test]
async fn every_mode_brings_the_bytes_and_repeats_harmlessly() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mode) in TransferMode::ALL.into_iter().filter(|(_, m)| *m != TransferMode::Direct) {
        let transfer = Transfer {
            from: TransferSource::File(location(dir.path().join(name))),
            to: location(dir.path().join("in/deep").join(name)),
            mode,
        };
        std::fs::write(dir.path().join(name), name).unwrap();
        assert_eq!(brought(std::slice::from_ref(&transfer)).await.unwrap().len(), 1, "{name}");
        assert_eq!(std::fs::read_to_string(transfer.to.local().unwrap()).unwrap(), name);
        assert!(brought(std::slice::from_ref(&transfer)).await.unwrap().is_empty(), "{name}");
        let gone = u64::from(mode == TransferMode::Move);
        assert_eq!(remove_sources(std::slice::from_ref(&transfer), &[]).await.unwrap(), gone);
        assert_eq!(dir.path().join(name).exists(), mode != TransferMode::Move, "{name}");
    }
}

/// Applies each mode after each other mode, as after an interrupted run: no file is lost, and the second mode
/// holds.
#[tokio::test]
async fn every_mode_follows_every_other_without_loss() {
    let modes = || TransferMode::ALL.into_iter().filter(|(_, mode)| *mode != TransferMode::Direct);
    for ((before, first), (after, second)) in modes().flat_map(|one| modes().map(move |other| (one, other))) {
        let dir = tempfile::tempdir().unwrap();
        let (source, to) = (dir.path().join("a"), dir.path().join("in/a"));
        std::fs::write(&source, "bytes").unwrap();
        let transfer = |mode| [Transfer { from: TransferSource::File(location(&source)), to: location(&to), mode }];
        brought(&transfer(first)).await.unwrap();
        let made = brought(&transfer(second)).await.unwrap();
        remove_sources(&transfer(second), &made).await.unwrap();
        let named = format!("{before}, then {after}");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "bytes", "{named}");
        assert_eq!(source.exists(), second != TransferMode::Move, "{named}");
        let is_own = matches!(second, TransferMode::Copy | TransferMode::Move | TransferMode::Hardlink);
        assert!(!is_own || !to.is_symlink(), "{named}");
        let left: Vec<_> = std::fs::read_dir(dir.path().join("in")).unwrap().collect();
        assert_eq!(left.len(), 1, "{named}: {left:?}");
    }
}

#[tokio::test]
async fn links_to_what_is_gone_are_replaced_and_those_to_others_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("a"), "a").unwrap();
    std::fs::write(at("b"), "b").unwrap();
    for (name, mode) in
        TransferMode::ALL.into_iter().filter(|(_, mode)| *mode != TransferMode::Direct && *mode != TransferMode::Move)
    {
        let to = at(&format!("to_{name}"));
        let transfer = [Transfer { from: TransferSource::File(location(at("a"))), to: location(&to), mode }];
        symlink(at("gone"), &to).unwrap();
        assert_eq!(brought(&transfer).await.unwrap().len(), 1, "{name}");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "a");
        std::fs::remove_file(&to).unwrap();
        symlink(at("b"), &to).unwrap();
        assert!(brought(&transfer).await.unwrap_err().message().contains("a different file exists"), "{name}");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "b");
    }
}

#[tokio::test]
async fn a_move_that_was_not_finished_is_finished_only_where_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["link", "other", "copy", "hard", "gone"] {
        std::fs::write(at(name), name).unwrap();
    }
    std::fs::create_dir(at("in")).unwrap();
    symlink(at("link"), at("in/link")).unwrap();
    std::fs::write(at("in/other"), "OTHER").unwrap();
    std::fs::copy(at("copy"), at("in/copy")).unwrap();
    std::fs::hard_link(at("hard"), at("in/hard")).unwrap();
    std::fs::remove_file(at("gone")).unwrap();
    let moves = ["link", "other", "copy", "hard", "gone"].map(|name| Transfer {
        from: TransferSource::File(location(at(name))),
        to: location(at("in").join(name)),
        mode: TransferMode::Move,
    });
    let left = unfinished_moves(moves.to_vec()).await.unwrap();
    assert_eq!(left.len(), 4);
    assert_eq!(remove_sources(&left, &[]).await.unwrap(), 2);
    assert!(at("link").exists() && at("other").exists() && !at("copy").exists() && !at("hard").exists());
}

#[tokio::test]
async fn a_file_that_is_moved_to_where_it_lies_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    std::fs::write(&path, "a").unwrap();
    let transfer = Transfer {
        from: TransferSource::File(location(dir.path().join(".").join("a"))),
        to: location(&path),
        mode: TransferMode::Move,
    };
    assert!(brought(std::slice::from_ref(&transfer)).await.unwrap().is_empty());
    remove_sources(&[transfer], &[]).await.unwrap();
    assert!(path.exists());
}

#[tokio::test]
async fn a_failure_takes_back_what_was_made() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("a"), "a").unwrap();
    let good =
        Transfer { from: TransferSource::File(location(at("a"))), to: location(at("x/a")), mode: TransferMode::Copy };
    let bad = Transfer {
        from: TransferSource::File(location(at("missing"))),
        to: location(at("x/b")),
        mode: TransferMode::Copy,
    };
    assert!(brought(&[good, bad]).await.unwrap_err().message().contains("missing"));
    assert!(!at("x/a").exists());
    // A different file of the same size is not accepted.
    std::fs::write(at("x/c"), "c").unwrap();
    let other =
        Transfer { from: TransferSource::File(location(at("a"))), to: location(at("x/c")), mode: TransferMode::Copy };
    assert!(brought(&[other]).await.unwrap_err().message().contains("a different file exists"));
}
