//! Logins: each returns a token, which is valid for an hour.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::RequestBuilder;
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::client::{Client, Retries, transport_refusal};
use super::refusal::Refusal;
use super::settings::Auth;
use crate::error::{Error, Kind, Result};

impl Client {
    /// Logs in and returns the new token.
    pub(super) async fn log_in(&self) -> Result<String> {
        let (login, auth) = (self.login_client()?, &self.settings.auth);
        let get = |path: &str| self.with_account(login.get(self.auth_url(path)));
        let request = match auth {
            Auth::Userpass { user, password } => {
                get("auth/userpass").header("X-Rucio-Username", user).header("X-Rucio-Password", password.value()?)
            }
            Auth::X509 { .. } => get("auth/x509"),
            Auth::Proxy { .. } => get("auth/x509_proxy"),
            Auth::Ssh { key } => {
                let challenge = self.header_of(get("auth/ssh_challenge_token"), "X-Rucio-SSH-Challenge-Token").await?;
                let signature = ssh_signature(key, challenge.as_bytes())?;
                get("auth/ssh").header("X-Rucio-SSH-Signature", signature)
            }
            Auth::Bearer { token } => return token.value(),
        };
        self.header_of(request, "X-Rucio-Auth-Token").await
    }

    fn with_account(&self, request: RequestBuilder) -> RequestBuilder {
        let request = request.header("X-Rucio-VO", self.settings.vo.as_deref().unwrap_or("def"));
        match &self.settings.account {
            Some(account) => request.header("X-Rucio-Account", account),
            None => request,
        }
    }

    /// Sends a request whose answer is a header.
    async fn header_of(&self, request: RequestBuilder, name: &str) -> Result<String> {
        let credentials = self.settings.auth.describe();
        let account = self.settings.account.as_ref().map_or(String::new(), |a| format!(" for account '{a}'"));
        let named = |refusal: Refusal| {
            let error = Error::from(refusal);
            match error.kind() {
                Kind::Denied => error.context(format_args!("Rucio does not accept {credentials}{account}")),
                _ => error.context(format_args!("the login at {}", self.settings.auth_host)),
            }
        };
        let mut retries = Retries::new(&self.settings);
        let response = loop {
            let copy = request.try_clone().ok_or_else(|| Error::bug("a login has a body"))?;
            let refusal = match copy.send().await {
                Ok(response) if response.status().is_success() => break response,
                Ok(response) => Refusal::read(response).await,
                Err(error) => transport_refusal(&self.settings.auth_host, &error),
            };
            if !retries.wait(&refusal).await {
                return Err(named(refusal));
            }
        };
        let value = response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let message =
            || format!("{} is not a server of Rucio: the login has no header {name}", self.settings.auth_host);
        value.ok_or_else(|| Error::invalid(message()))
    }
}

/// Signs a challenge with an RSA key (`rsa-sha2-256`), in the form of the SSH protocol (RFC 4253 and 8332) and base64.
fn ssh_signature(file: &std::path::Path, challenge: &[u8]) -> Result<String> {
    const ALGORITHM: &str = "rsa-sha2-256";
    let named = |message: &str| Error::invalid(format!("SSH key '{}' {message}", file.display()));
    let text = std::fs::read(file).map_err(|e| Error::from(e).context(format_args!("SSH key '{}'", file.display())))?;
    let key = PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| named("is not an RSA key in PEM; convert a copy with: ssh-keygen -p -m PEM -f FILE"))?;
    let key = any_supported_type(&key).map_err(|_| named("is not an RSA key"))?;
    let signer = key.choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]).ok_or_else(|| named("is not an RSA key"))?;
    let signature = signer.sign(challenge).map_err(|_| named("cannot sign"))?;
    let mut wire = Vec::new();
    for part in [ALGORITHM.as_bytes(), &signature] {
        wire.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        wire.extend(part);
    }
    Ok(BASE64_STANDARD.encode(wire))
}
