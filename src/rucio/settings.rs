//! Settings of the client, found as the original client finds them: `rucio.cfg` and environment variables.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ini::{Ini, ParseOption};
use url::Url;

use super::token_cache::{TokenCache, user_id};
use crate::error::{Error, Kind, Result, hint};
use crate::net::path_names::{expanded, home};
use crate::net::secret::Secret;

/// The settings of the client.
#[derive(Debug)]
pub(super) struct Settings {
    /// Server of the catalogue.
    pub host: Url,
    /// Server of the logins; often the same.
    pub auth_host: Url,
    /// Account; `None` for the only account of the user.
    pub account: Option<String>,
    /// Virtual organization; `None` for the default.
    pub vo: Option<String>,
    /// How to log in.
    pub auth: Auth,
    /// File or folder of trusted authorities; `None` for those of the system.
    pub authorities: Option<PathBuf>,
    /// Maximum number of retries of a request.
    pub retries: u32,
    /// File of the token; `None` for tokens of others.
    pub cache: Option<TokenCache>,
    /// The configuration file.
    pub source: PathBuf,
}

/// The kind of login, with its credentials.
#[derive(Debug)]
pub(super) enum Auth {
    /// User and password.
    Userpass {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// An X.509 certificate with its key.
    X509 {
        /// File of the certificate.
        certificate: PathBuf,
        /// File of the private key.
        key: PathBuf,
    },
    /// An X.509 proxy: certificate, key and issuer in one file.
    Proxy {
        /// File of the proxy.
        file: PathBuf,
    },
    /// An SSH key.
    Ssh {
        /// File of the private key.
        key: PathBuf,
    },
    /// A bearer token of an OpenID provider, which needs no login.
    Bearer {
        /// Token.
        token: Secret,
    },
}

impl Auth {
    /// The credentials for messages and the log; never the secret.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Userpass { user, .. } => format!("the password of user '{user}'"),
            Self::X509 { certificate, .. } => format!("certificate '{}'", certificate.display()),
            Self::Proxy { file } => format!("proxy '{}'", file.display()),
            Self::Ssh { key } => format!("SSH key '{}'", key.display()),
            Self::Bearer { token } => format!("the bearer token {token:?}"),
        }
    }
}

/// The kinds of login that are supported.
const TYPES: [&str; 5] = ["userpass", "x509", "x509_proxy", "ssh", "oidc"];

type Variable<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Settings {
    /// Reads the settings.
    ///
    /// # Errors
    /// `Kind::NotFound` without a configuration file; `Kind::Invalid` for missing or wrong values; `Kind::Denied` for
    /// credentials that do not exist or that others can read.
    pub(super) fn read(variable: Variable<'_>) -> Result<Self> {
        let file = find_file(variable)?;
        let text = std::fs::read_to_string(&file);
        let named = |e: Error| e.context(format_args!("Rucio configuration '{}'", file.display()));
        let text = text.map_err(|e| named(e.into()))?;
        let client = section(&text, "client").map_err(named)?;
        Self::of_section(&client, &file, variable).map_err(named)
    }

    fn of_section(client: &Section, file: &Path, variable: Variable<'_>) -> Result<Self> {
        let url = |name: &str| {
            let text = client.get(name).ok_or_else(|| Error::invalid(format!("[client] lacks '{name}'")))?;
            let url =
                Url::parse(text.trim_end_matches('/')).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
            url.ok_or_else(|| Error::invalid(format!("'{name}' is not an http or https URL: '{text}'")))
        };
        let path = |text: String| PathBuf::from(expanded(&home(&text, variable), variable));
        let account = variable("RUCIO_ACCOUNT").or_else(|| client.get("account"));
        let vo = variable("RUCIO_VO").or_else(|| client.get("vo"));
        let auth = Self::auth(client, &path, variable)?;
        let cache = match client.get("auth_token_file_path") {
            _ if matches!(auth, Auth::Bearer { .. }) => None,
            Some(file) => Some(TokenCache::at(path(file))),
            None => Some(TokenCache::of(account.as_deref(), vo.as_deref(), variable)),
        };
        let retries = client.get("request_retries").map_or(Ok(3), |text| {
            text.parse().map_err(|_| Error::invalid(format!("'request_retries' is not a number: '{text}'")))
        })?;
        Ok(Self {
            host: url("rucio_host")?,
            auth_host: url("auth_host")?,
            account,
            vo,
            auth,
            authorities: variable("X509_CERT_DIR").or_else(|| client.get("ca_cert")).map(path),
            retries,
            cache,
            source: file.to_owned(),
        })
    }

    fn auth(client: &Section, path: &dyn Fn(String) -> PathBuf, variable: Variable<'_>) -> Result<Auth> {
        let needed = |name: &str, kind: &str| {
            client.get(name).ok_or_else(|| Error::invalid(format!("[client] lacks '{name}', which '{kind}' needs")))
        };
        let kind = variable("RUCIO_AUTH_TYPE").or_else(|| client.get("auth_type"));
        let kind = kind.ok_or_else(|| Error::invalid("[client] lacks 'auth_type'"))?;
        Ok(match kind.as_str() {
            "userpass" => Auth::Userpass {
                user: needed("username", "userpass")?,
                password: Secret::literal("the password of Rucio", &needed("password", "userpass")?)?,
            },
            "x509" => {
                let certificate = variable("RUCIO_CLIENT_CERT").map_or_else(|| needed("client_cert", "x509"), Ok)?;
                let key = variable("RUCIO_CLIENT_KEY").map_or_else(|| needed("client_key", "x509"), Ok)?;
                let key = path(key);
                check_private(&key)?;
                Auth::X509 { certificate: path(certificate), key }
            }
            "x509_proxy" => {
                let file = variable("RUCIO_CLIENT_PROXY").or_else(|| client.get("client_x509_proxy"));
                let file = file.or_else(|| variable("X509_USER_PROXY"));
                let file = file.map_or_else(|| PathBuf::from(format!("/tmp/x509up_u{}", user_id())), path);
                check_private(&file)?;
                Auth::Proxy { file }
            }
            "ssh" => {
                let key = path(needed("ssh_private_key", "ssh")?);
                check_private(&key)?;
                Auth::Ssh { key }
            }
            "oidc" => Auth::Bearer { token: bearer_token(variable)? },
            other => {
                let message = format!(
                    "auth_type '{other}' is not supported; there are {}{}",
                    TYPES.join(", "),
                    hint(other, TYPES)
                );
                return Err(Error::new(Kind::Unsupported, message));
            }
        })
    }
}

/// Finds the configuration file; the first that exists is used.
fn find_file(variable: Variable<'_>) -> Result<PathBuf> {
    if let Some(file) = variable("RUCIO_CONFIG") {
        let file = PathBuf::from(file);
        if file.is_file() {
            return Ok(file);
        }
        let message = format!("RUCIO_CONFIG names '{}', which does not exist", file.display());
        return Err(Error::new(Kind::NotFound, message));
    }
    let homes = ["RUCIO_HOME", "VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(variable);
    let mut files = homes.chain(["/opt/rucio".to_owned()]).map(|home| Path::new(&home).join("etc/rucio.cfg"));
    files.find(|file| file.is_file()).ok_or_else(|| {
        let message = "no configuration of Rucio: RUCIO_CONFIG names a rucio.cfg, or RUCIO_HOME a folder with \
                       etc/rucio.cfg";
        Error::new(Kind::NotFound, message)
    })
}

/// The token of an OpenID provider, found by the rules of the WLCG.
fn bearer_token(variable: Variable<'_>) -> Result<Secret> {
    if let Some(token) = variable("BEARER_TOKEN") {
        return Secret::literal("BEARER_TOKEN", &token);
    }
    if let Some(file) = variable("BEARER_TOKEN_FILE") {
        return Secret::new("token of BEARER_TOKEN_FILE", &file);
    }
    let name = format!("bt_u{}", user_id());
    let folders = variable("XDG_RUNTIME_DIR").into_iter().chain(["/tmp".to_owned()]);
    let file = folders.map(|folder| Path::new(&folder).join(&name)).find(|file| file.is_file());
    match file {
        Some(file) => Secret::new("bearer token", &file.display().to_string()),
        None => {
            let message = format!(
                "auth_type 'oidc' needs a token in BEARER_TOKEN, BEARER_TOKEN_FILE, XDG_RUNTIME_DIR/{name} or /tmp/{name}"
            );
            Err(Error::new(Kind::Denied, message))
        }
    }
}

/// Checks that a private key exists and only its owner can read it.
fn check_private(file: &Path) -> Result<()> {
    let found = std::fs::metadata(file).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::new(Kind::Denied, format!("credential file '{}' does not exist", file.display()))
        }
        _ => Error::from(e).context(format_args!("credential file '{}'", file.display())),
    })?;
    if found.permissions().mode() & 0o077 != 0 {
        let message = format!("'{0}' may be read by others; run chmod 600 '{0}'", file.display());
        return Err(Error::new(Kind::Denied, message));
    }
    Ok(())
}

/// A section of the configuration, with the interpolation of Python: `%(name)s` and `%%`.
struct Section(Vec<(String, String)>);

impl Section {
    /// Returns a value, if it is set and not empty.
    fn get(&self, name: &str) -> Option<String> {
        let (_, value) = self.0.iter().find(|(key, _)| key == name)?;
        Some(self.interpolated(value, 0)).filter(|value| !value.is_empty())
    }

    fn interpolated(&self, value: &str, depth: usize) -> String {
        let mut out = String::new();
        let mut rest = value;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            if let Some(tail) = after.strip_prefix('%') {
                out.push('%');
                rest = tail;
            } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|named| named.split_once(")s"))
                && let Some((_, other)) = self.0.iter().find(|(key, _)| *key == name.to_lowercase())
                && depth < 10
            {
                out.push_str(&self.interpolated(other, depth + 1));
                rest = tail;
            } else {
                out.push('%');
                rest = after;
            }
        }
        out + rest
    }
}

/// Parses one section.
fn section(text: &str, name: &str) -> Result<Section> {
    let options = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
    let file =
        Ini::load_from_str_opt(text, options).map_err(|e| Error::invalid(format!("line {}: {}", e.line, e.msg)))?;
    let found = file.section(Some(name)).ok_or_else(|| Error::invalid(format!("there is no section [{name}]")))?;
    Ok(Section(found.iter().map(|(key, value)| (key.to_lowercase(), value.trim().to_owned())).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# a comment\n[common]\nlogdir = /x\n[client]\nrucio_host = https://rucio.example:443\n\
                        auth_host: https://auth.example\nAuth_Type = userpass\nusername = me\n\
                        password = a%%b#c;\"d\naccount = %(username)s\nca_cert = $CERTS/ca.pem\n";

    fn settings(text: &str, variables: &[(&str, &str)]) -> Result<Settings> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rucio.cfg");
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        let all = [("RUCIO_CONFIG", file.as_str()), ("CERTS", "/certs")];
        let variable =
            |name: &str| variables.iter().chain(&all).find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
        Settings::read(&variable)
    }

    #[test]
    fn the_file_is_read_as_python_reads_it() {
        let settings = settings(FILE, &[]).unwrap();
        assert_eq!(settings.host.as_str(), "https://rucio.example/");
        assert_eq!(settings.account.as_deref(), Some("me"));
        assert_eq!(settings.authorities.as_deref(), Some(Path::new("/certs/ca.pem")));
        let Auth::Userpass { user, password } = &settings.auth else { panic!("{:?}", settings.auth) };
        assert_eq!((user.as_str(), password.value().unwrap().as_str()), ("me", "a%b#c;\"d"));
        assert!(!format!("{settings:?}").contains("a%b"), "a secret is shown");
    }

    #[test]
    fn variables_come_before_the_file() {
        let found = settings(FILE, &[("RUCIO_ACCOUNT", "other"), ("RUCIO_VO", "x")]).unwrap();
        assert_eq!((found.account.as_deref(), found.vo.as_deref()), (Some("other"), Some("x")));
        let bearer = settings(FILE, &[("RUCIO_AUTH_TYPE", "oidc"), ("BEARER_TOKEN", "abc")]).unwrap();
        assert!(matches!(bearer.auth, Auth::Bearer { .. }) && bearer.cache.is_none());
    }

    #[test]
    fn errors_are_one_sentence() {
        let without = |line: &str| FILE.lines().filter(|l| !l.starts_with(line)).collect::<Vec<_>>().join("\n");
        for (text, variables, message) in [
            (without("rucio_host"), vec![], "[client] lacks 'rucio_host'"),
            (without("password"), vec![], "[client] lacks 'password', which 'userpass' needs"),
            (without("Auth_Type"), vec![], "[client] lacks 'auth_type'"),
            (without("[client]"), vec![], "there is no section [client]"),
            (FILE.replace("https://rucio", "rucio"), vec![], "'rucio_host' is not an http or https URL"),
            (FILE.to_owned(), vec![("RUCIO_AUTH_TYPE", "userpas")], "did you mean 'userpass'?"),
            (FILE.to_owned(), vec![("RUCIO_AUTH_TYPE", "gss")], "'gss' is not supported; there are userpass, x509"),
            (FILE.to_owned(), vec![("RUCIO_AUTH_TYPE", "x509")], "[client] lacks 'client_cert'"),
            (
                FILE.to_owned(),
                vec![("RUCIO_AUTH_TYPE", "x509_proxy"), ("RUCIO_CLIENT_PROXY", "/no/x")],
                "does not exist",
            ),
            (
                FILE.to_owned(),
                vec![("RUCIO_CONFIG", "/nowhere/rucio.cfg")],
                "names '/nowhere/rucio.cfg', which does not",
            ),
        ] {
            let error = settings(&text, &variables).expect_err(message);
            assert!(error.message().contains(message), "{error}, not {message}");
        }
        let none = find_file(&|_| None);
        if let Err(error) = none {
            assert!(error.message().contains("RUCIO_CONFIG names a rucio.cfg"), "{error}");
        }
    }
}
