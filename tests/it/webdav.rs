//! Repositories, raws and tables on WebDAV servers.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use butlersql::internal::webdav::{Client, WebDavStore};
use futures::TryStreamExt;
use macro_rules_attribute::apply;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path as Key;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RenameOptions, RenameTargetMode,
};
use url::Url;

use crate::world::{Db, Home, butler, dav, fresh, oracle, pki, program, run};

/// The names below a prefix, in order.
async fn listed(store: &dyn ObjectStore, prefix: &Key) -> Vec<String> {
    let found: Vec<_> = store.list(Some(prefix)).try_collect().await.expect("a list");
    let mut names: Vec<String> = found.iter().map(|meta| meta.location.to_string()).collect();
    names.sort();
    names
}

/// What every store does alike.
async fn conforms(store: &dyn ObjectStore, top: &str) {
    let key = |name: &str| Key::parse(format!("{top}/{name}")).expect("a path");
    let bytes = |text: &str| PutPayload::from(text.as_bytes().to_vec());
    let (a, b) = (key("deep/er/a b+c%20~é.txt"), key("deep/b"));
    assert!(matches!(store.head(&a).await, Err(Error::NotFound { .. })), "{store}");
    assert!(listed(store, &key("deep")).await.is_empty(), "{store}");
    store.put(&a, bytes("0123456789")).await.expect("a put");
    assert_eq!(store.head(&a).await.expect("a head").size, 10, "{store}");
    assert_eq!(&store.get(&a).await.expect("a get").bytes().await.expect("bytes")[..], b"0123456789");
    assert_eq!(&store.get_range(&a, 2..5).await.expect("a range")[..], b"234");
    let parts = store.get_ranges(&a, &[0..2, 8..10]).await.expect("ranges");
    assert_eq!([&parts[0][..], &parts[1][..]], [&b"01"[..], b"89"]);
    let last = GetOptions { range: Some(GetRange::Suffix(3)), ..GetOptions::default() };
    assert_eq!(&store.get_opts(&a, last).await.expect("a get").bytes().await.expect("bytes")[..], b"789");

    // What is there is replaced when that is wanted, and only then.
    store.put(&a, bytes("new")).await.expect("a put over it");
    let taken = store.put_opts(&a, bytes("x"), PutMode::Create.into()).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{store}: {taken:?}");
    store.put_opts(&b, bytes("b"), PutMode::Create.into()).await.expect("a new file");
    store.put(&key("deep/empty"), bytes("")).await.expect("a put");
    let mut names: Vec<String> = [&a, &b, &key("deep/empty")].into_iter().map(Key::to_string).collect();
    names.sort();
    assert_eq!(listed(store, &key("deep")).await, names, "{store}");
    assert!(listed(store, &key("dee")).await.is_empty(), "{store}");
    let one = store.list_with_delimiter(Some(&key("deep"))).await.expect("a list");
    assert_eq!((one.objects.len(), one.common_prefixes), (2, vec![key("deep/er")]), "{store}");

    // Copies and renames keep the bytes, make folders, and take no name that is taken unless told so.
    store.copy(&a, &key("copies/of/a")).await.expect("a copy");
    assert_eq!(&store.get(&key("copies/of/a")).await.expect("a get").bytes().await.expect("bytes")[..], b"new");
    let create = CopyOptions { mode: CopyMode::Create, ..CopyOptions::default() };
    let taken = store.copy_opts(&a, &b, create).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{store}: {taken:?}");
    store.rename(&a, &key("moved/far/a")).await.expect("a rename");
    assert!(matches!(store.head(&a).await, Err(Error::NotFound { .. })), "{store}");
    let create = RenameOptions { target_mode: RenameTargetMode::Create, ..RenameOptions::default() };
    let taken = store.rename_opts(&key("moved/far/a"), &b, create).await;
    assert!(matches!(taken, Err(Error::AlreadyExists { .. })), "{store}: {taken:?}");
    store.rename(&key("moved/far/a"), &b).await.expect("a rename over it");
    assert_eq!(&store.get(&b).await.expect("a get").bytes().await.expect("bytes")[..], b"new");
    let missing = store.rename(&a, &key("moved/b")).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })), "{store}: {missing:?}");

    // More than is held in memory, in parts.
    let big: Vec<u8> = (0..20_000_000_u32).map(|i| (i % 251) as u8).collect();
    let mut upload = store.put_multipart(&key("big")).await.expect("an upload");
    for part in big.chunks(9_000_000) {
        upload.put_part(PutPayload::from(part.to_vec())).await.expect("a part");
    }
    upload.complete().await.expect("an end");
    let back = store.get(&key("big")).await.expect("a get").bytes().await.expect("bytes");
    assert!(back[..] == big[..], "{store}: {} bytes came back", back.len());
    let back = store.get_range(&key("big"), 5..19_000_000).await.expect("a range");
    assert!(back[..] == big[5..19_000_000], "{store}");
    let mut given_up = store.put_multipart(&key("never")).await.expect("an upload");
    given_up.put_part(bytes("x")).await.expect("a part");
    given_up.abort().await.expect("an abort");
    assert!(matches!(store.head(&key("never")).await, Err(Error::NotFound { .. })), "{store}");

    store.delete(&b).await.expect("a delete");
    assert!(matches!(store.head(&b).await, Err(Error::NotFound { .. })), "{store}");
    let left: Vec<String> = ["big", "copies/of/a", "deep/empty"].map(|name| key(name).to_string()).into();
    assert_eq!(listed(store, &Key::from(top)).await, left, "{store}");
}

#[apply(test!)]
async fn every_store_does_alike() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    conforms(&InMemory::new(), "top").await;
    conforms(&LocalFileSystem::new_with_prefix(dir.path()).expect("a store"), "top").await;
    for name in ["APACHE", "NGINX", "RCLONE", "DOOR"] {
        let Some(uri) = dav(name) else { continue };
        let client = Client::of(&Url::parse(&uri).expect("a URL")).expect("a client");
        conforms(&WebDavStore(Arc::clone(&client)), &fresh("conforms")).await;
        // A folder is not removed, and no file is put in its place.
        let folder = format!("/{}", fresh("folder"));
        client.make_folder(&format!("{folder}/a/b")).await.expect("folders");
        assert!(client.remove(&folder).await.expect_err("a folder").message().contains("is a folder"), "{uri}");
        let body = butlersql::internal::webdav::Body::Bytes("x".into());
        assert!(
            client.write(&folder, body, true).await.expect_err("a folder").message().contains("is a folder"),
            "{uri}"
        );
    }
}

#[apply(test!)]
fn a_campaign_runs_on_a_door_and_the_butler_opens_it() {
    for (name, version) in [("APACHE", "b29"), ("NGINX", "b30"), ("DOOR", ""), ("OLD_DOOR", "")] {
        let Some(uri) = dav(name) else { continue };
        let Some(mut home) = Home::new(Db::PostgresNamespace) else { continue };
        let local = home.sample(&["--exposures", "40", "--nights", "2"]);
        let (root, data) = (format!("{uri}/{}", fresh("repo")), format!("{uri}/{}", fresh("data")));
        upload(Path::new(&local), &data);
        home.put_at(&root, &data);
        let ran = run(&mut home.campaign());
        assert_eq!(ran.code, 0, "{name}: {}", ran.err);
        let before = home.rows("SELECT dataset_type, count(*) FROM files GROUP BY 1 ORDER BY 1");
        let again = run(&mut home.campaign());
        assert_eq!(again.code, 0, "{name}: {}", again.err);
        assert_eq!(home.rows("SELECT dataset_type, count(*) FROM files GROUP BY 1 ORDER BY 1"), before);
        let raws = home.rows("SELECT path, file_size FROM files WHERE dataset_type = 'raw' LIMIT 1");
        assert!(raws[0].starts_with(&format!("{data}/raw/")), "{raws:?}");
        let sky = home.rows("SELECT path FROM files WHERE dataset_type = 'skyMap'");
        let listed =
            home.rows(&format!("SELECT count(*) FROM list('{root}/{}')", sky[0].rsplit_once('/').expect("a folder").0));
        assert_eq!(listed, ["1"], "{name}: no more than the file is left beside {sky:?}");
        let checked = home.rows("SELECT state, count(*) > 400 FROM check_files('*', read => true) GROUP BY state");
        assert_eq!(checked, ["ok,true"], "{name}");
        if !version.is_empty()
            && let Some(python) = butler(version)
        {
            assert_eq!(oracle(&python, "door.py", &[&root]), "read and written\n", "{name}");
        }
    }
}

/// Copies a folder to a door.
fn upload(folder: &Path, uri: &str) {
    let url = Url::parse(uri).expect("a URL");
    let store = WebDavStore(Client::of(&url).expect("a client"));
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut waiting = vec![(folder.to_owned(), url.path().trim_matches('/').to_owned())];
    while let Some((folder, key)) = waiting.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            let key = format!("{key}/{}", path.file_name().expect("a name").to_string_lossy());
            if path.is_dir() {
                waiting.push((path, key));
                continue;
            }
            let bytes = std::fs::read(&path).expect("a file");
            runtime.block_on(store.put(&Key::parse(key).expect("a path"), bytes.into())).expect("a put");
        }
    }
}

/// The program at a door with other settings; it must fail as a server out of reach does.
#[track_caller]
fn refused(uri: &str, settings: &[(&str, &str)]) -> String {
    let mut command = program();
    command.env_remove("LSST_RESOURCES_WEBDAV_CONFIG").args(["none", "-c", &format!("SELECT * FROM list('{uri}')")]);
    let ran = run(command.envs(settings.iter().copied()));
    assert_eq!(ran.code, 4, "{settings:?}: {}", ran.err);
    ran.err.lines().next().unwrap_or_default().to_owned()
}

#[apply(test!)]
fn what_is_wrong_with_credentials_is_told() {
    let (Some(apache), Some(nginx)) = (dav("APACHE"), dav("NGINX")) else { return };
    let (ca, authorities) = (pki("ca.pem"), pki("authorities"));
    let trust = ("LSST_HTTP_CACERT_BUNDLE", &*authorities);
    let open = pki("open-token");
    std::fs::write(&open, "abc").expect("a file");
    run(Command::new("chmod").args(["644", &open])).ok();
    let (old, key) = (pki("old.pem"), pki("user.key"));
    run(Command::new("chmod").args(["600", &key])).ok();
    let expired = [trust, ("LSST_HTTP_AUTH_CLIENT_CERT", &old), ("LSST_HTTP_AUTH_CLIENT_KEY", &key)];
    for (uri, settings, message) in [
        (&apache, &[trust][..], "requires a client certificate; set user_cert or X509_USER_PROXY"),
        (&apache, &expired, "was valid until"),
        (&nginx, &[("LSST_HTTP_CACERT_BUNDLE", &*pki("other.pem"))], "is not issued by a trusted authority"),
        (&nginx, &[trust, ("LSST_HTTP_AUTH_BEARER_TOKEN", "/no/token")], "token file '/no/token' does not exist"),
        (&nginx, &[trust, ("LSST_HTTP_AUTH_BEARER_TOKEN", &open)], "may be read by others; run chmod 600"),
        (
            &nginx,
            &[trust, ("LSST_HTTP_AUTH_BEARER_TOKEN", "wrong")],
            "authentication failed (bearer token of LSST_HTTP_AUTH",
        ),
        (&nginx, &[("LSST_HTTP_CACERT_BUNDLE", &*ca)], "authentication failed (no credentials)"),
    ] {
        let told = refused(uri, settings);
        assert!(told.contains(message), "{settings:?}: {told}");
    }
    // A token that is refused is not sent again: doors lock out who tries three times.
    let log = std::env::var("BUTLERSQL_TEST_DAV_REQUESTS").expect("the requests of nginx");
    for (name, once) in [("first", "/once-1"), ("second", "/once-2"), ("third", "/once-3")] {
        let told = refused(&format!("{nginx}{once}"), &[trust, ("LSST_HTTP_AUTH_BEARER_TOKEN", name)]);
        assert!(told.contains("authentication failed (bearer token"), "{told}");
        let lines = std::fs::read_to_string(&log).expect("a log");
        let asked: Vec<_> = lines.lines().filter(|line| line.contains(once)).collect();
        assert_eq!(asked, [format!("401 PROPFIND {once}")]);
    }
    let proxy = pki("x509.pem");
    if let Some(door) = dav("DOOR") {
        let mut command = program();
        command.env_remove("LSST_RESOURCES_WEBDAV_CONFIG").args([
            "none",
            "-c",
            &format!("SELECT * FROM list('{door}')"),
        ]);
        run(command.env("X509_USER_PROXY", &proxy).env(trust.0, trust.1)).ok();
    }
    let nowhere =
        refused("davs://localhost:1/x", &[trust, ("LSST_HTTP_BACKOFF_MAX", "0.01"), ("LSST_HTTP_BACKOFF_MIN", "0")]);
    assert!(nowhere.contains("localhost:1 cannot be reached") && nowhere.contains("tried 4 times"), "{nowhere}");
}
