//! SCRAM-SHA-256 (RFC 5802, RFC 7677), with and without channel binding, the server's side; and the verifiers that PostgreSQL
//! keeps in pg_authid.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, Mac};
use quiver_base::{Error, Result, SqlState};
use rand::Rng;
use sha2::{Digest, Sha256};

/// The mechanism's name.
pub(crate) const MECHANISM: &str = "SCRAM-SHA-256";
/// The mechanism's name with channel binding: the client proves that it talks to the server whose certificate it sees.
pub(crate) const MECHANISM_PLUS: &str = "SCRAM-SHA-256-PLUS";
/// What the binding is to: the server's certificate.
const END_POINT: &str = "p=tls-server-end-point";
const ITERATIONS: u32 = 4_096;

/// What is known about a password: enough to check it, not enough to log in with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verifier {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Verifier {
    /// The verifier of a password, with a fresh salt.
    pub(crate) fn of_password(password: &str) -> Verifier {
        let salt: [u8; 16] = rand::rng().random();
        // As clients do, and as PostgreSQL does: what cannot be prepared is taken as it is.
        let prepared = stringprep::saslprep(password);
        Self::salted(prepared.as_deref().unwrap_or(password), &salt, ITERATIONS)
    }

    fn salted(password: &str, salt: &[u8], iterations: u32) -> Verifier {
        let salted = salted_password(password.as_bytes(), salt, iterations);
        Verifier {
            iterations,
            salt: salt.to_vec(),
            stored_key: Sha256::digest(hmac(&salted, b"Client Key")).into(),
            server_key: hmac(&salted, b"Server Key"),
        }
    }

    /// One that no password fits, so that an unknown role takes as long to refuse as a wrong password.
    pub(crate) fn of_nobody() -> Verifier {
        let salt: [u8; 16] = rand::rng().random();
        Verifier {
            iterations: ITERATIONS,
            salt: salt.to_vec(),
            stored_key: rand::rng().random(),
            server_key: rand::rng().random(),
        }
    }

    /// Reads `SCRAM-SHA-256$4096:salt$stored:server`.
    pub(crate) fn parse(text: &str) -> Option<Verifier> {
        let (parameters, keys) = text.strip_prefix("SCRAM-SHA-256$")?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored, server) = keys.split_once(':')?;
        Some(Verifier {
            iterations: iterations.parse().ok()?,
            salt: BASE64.decode(salt).ok()?,
            stored_key: BASE64.decode(stored).ok()?.try_into().ok()?,
            server_key: BASE64.decode(server).ok()?.try_into().ok()?,
        })
    }
}

/// As pg_authid keeps it.
impl std::fmt::Display for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encode = |bytes: &[u8]| BASE64.encode(bytes);
        let (salt, stored, server) = (encode(&self.salt), encode(&self.stored_key), encode(&self.server_key));
        write!(f, "{MECHANISM}${}:{salt}${stored}:{server}", self.iterations)
    }
}

/// What a login is bound to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Binding<'a> {
    /// Nothing can be bound to: no TLS, or a certificate without a hash.
    Impossible,
    /// The client could bind to the certificate, and took the mechanism without.
    Declined,
    /// The client took the mechanism that binds to the certificate with this hash.
    EndPoint(&'a [u8]),
}

/// An exchange after the client's first message.
#[derive(Debug)]
pub(crate) struct Exchange {
    verifier: Verifier,
    /// What the client's `c=` must say.
    binding: String,
    nonce: String,
    first_messages: String,
}

impl Exchange {
    /// Reads the client's first message; gives the server's.
    pub(crate) fn begin(
        verifier: Verifier,
        client_first: &str,
        binding: Binding<'_>,
    ) -> Result<(Exchange, String)> {
        let nonce: [u8; 18] = rand::rng().random();
        Self::begin_with(verifier, client_first, binding, &BASE64.encode(nonce))
    }

    fn begin_with(
        verifier: Verifier,
        client_first: &str,
        binding: Binding<'_>,
        nonce: &str,
    ) -> Result<(Exchange, String)> {
        let malformed = || malformed("malformed SCRAM message");
        let mut parts = client_first.splitn(3, ',');
        let (flag, authzid, bare) =
            (parts.next(), parts.next().ok_or_else(malformed)?, parts.next().ok_or_else(malformed)?);
        check_flag(flag.unwrap_or_default(), binding)?;
        if !authzid.is_empty() {
            return Err(Error::unsupported("a SCRAM authorization identity"));
        }
        let client_nonce =
            bare.split(',').find_map(|part| part.strip_prefix("r=")).filter(|nonce| !nonce.is_empty());
        let nonce = format!("{}{nonce}", client_nonce.ok_or_else(malformed)?);
        let server_first = format!("r={nonce},s={},i={}", BASE64.encode(&verifier.salt), verifier.iterations);
        let header = &client_first[..client_first.len() - bare.len()];
        let mut bound = header.as_bytes().to_vec();
        if let Binding::EndPoint(hash) = binding {
            bound.extend_from_slice(hash);
        }
        let exchange = Exchange {
            binding: BASE64.encode(bound),
            first_messages: format!("{bare},{server_first}"),
            nonce,
            verifier,
        };
        Ok((exchange, server_first))
    }

    /// Reads the client's final message; gives the server's if the proof holds, `None` if it does not.
    pub(crate) fn finish(&self, client_final: &str) -> Result<Option<String>> {
        let malformed = || malformed("malformed SCRAM message");
        let (without_proof, proof) = client_final.rsplit_once(",p=").ok_or_else(malformed)?;
        let proof: [u8; 32] =
            BASE64.decode(proof).ok().and_then(|proof| proof.try_into().ok()).ok_or_else(malformed)?;
        let mut parts = without_proof.split(',');
        let binding = parts.next().and_then(|part| part.strip_prefix("c=")).ok_or_else(malformed)?;
        let nonce = parts.next().and_then(|part| part.strip_prefix("r=")).ok_or_else(malformed)?;
        if binding != self.binding {
            return Err(Error::new(
                SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
                "SCRAM channel binding check failed",
            ));
        }
        if nonce != self.nonce {
            return Err(malformed());
        }
        let signed = format!("{},{without_proof}", self.first_messages);
        let signature = hmac(&self.verifier.stored_key, signed.as_bytes());
        let client_key: Vec<u8> = proof.iter().zip(signature).map(|(proof, byte)| proof ^ byte).collect();
        let found: [u8; 32] = Sha256::digest(client_key).into();
        if !equal(&found, &self.verifier.stored_key) {
            return Ok(None);
        }
        let answer = hmac(&self.verifier.server_key, signed.as_bytes());
        Ok(Some(format!("v={}", BASE64.encode(answer))))
    }
}

/// The first field of the client's first message must fit the mechanism that it took.
fn check_flag(flag: &str, binding: Binding<'_>) -> Result<()> {
    let malformed = |detail: &str| Err(malformed("malformed SCRAM message").with_detail(detail));
    match (flag, binding) {
        ("n", Binding::Impossible | Binding::Declined) | ("y", Binding::Impossible) => Ok(()),
        (END_POINT, Binding::EndPoint(_)) => Ok(()),
        ("y", Binding::Declined) => Err(Error::new(
            SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            "SCRAM channel binding negotiation error",
        )
        .with_detail(
            "The client supports SCRAM channel binding but thinks the server does not.  \
             However, this server does support channel binding.",
        )),
        ("n" | "y", Binding::EndPoint(_)) => malformed(
            "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
        ),
        (flag, Binding::EndPoint(_)) if flag.starts_with("p=") => {
            let kind = &flag[2..];
            let message = format!("unsupported SCRAM channel-binding type \"{kind}\"");
            Err(Error::new(SqlState::PROTOCOL_VIOLATION, message))
        }
        (flag, _) if flag.starts_with("p=") => malformed(
            "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
        ),
        _ => malformed("Unexpected channel-binding flag."),
    }
}

fn malformed(message: &str) -> Error {
    Error::new(SqlState::PROTOCOL_VIOLATION, message)
}

/// Compares without telling by time where the difference is.
fn equal(one: &[u8; 32], other: &[u8; 32]) -> bool {
    one.iter().zip(other).fold(0, |difference, (one, other)| difference | (one ^ other)) == 0
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// PBKDF2 with HMAC-SHA-256, one block.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> [u8; 32] {
    let mut first = salt.to_vec();
    first.extend_from_slice(&1_u32.to_be_bytes());
    let mut block = hmac(password, &first);
    let mut result = block;
    for _ in 1..iterations {
        block = hmac(password, &block);
        result.iter_mut().zip(block).for_each(|(sum, byte)| *sum ^= byte);
    }
    result
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_rfc_holds() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let verifier = Verifier::salted("pencil", &salt, 4_096);
        let (exchange, server_first) = Exchange::begin_with(
            verifier.clone(),
            "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
            Binding::Impossible,
            "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
        )
        .unwrap();
        assert_eq!(
            server_first,
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let client_final = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(
            exchange.finish(client_final).unwrap().unwrap(),
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
        assert_eq!(Verifier::parse(&verifier.to_string()), Some(verifier));
    }

    #[test]
    fn a_wrong_proof_and_a_wrong_nonce_are_refused() {
        let (exchange, _) =
            Exchange::begin(Verifier::of_password("right"), "n,,n=,r=abc", Binding::Declined).unwrap();
        let proof = BASE64.encode([7; 32]);
        assert_eq!(exchange.finish(&format!("c=biws,r={},p={proof}", exchange.nonce)).unwrap(), None);
        assert!(exchange.finish(&format!("c=biws,r=abc,p={proof}")).is_err());
        let other = BASE64.encode("y,,");
        let error = exchange.finish(&format!("c={other},r={},p={proof}", exchange.nonce)).unwrap_err();
        assert_eq!(error.message(), "SCRAM channel binding check failed");
        assert!(Exchange::begin(Verifier::of_nobody(), "garbage", Binding::Impossible).is_err());
    }

    #[test]
    fn the_flag_must_fit_the_mechanism() {
        let begin = |flag: &str, binding| {
            Exchange::begin(Verifier::of_nobody(), &format!("{flag},,n=,r=abc"), binding)
                .map(|(exchange, _)| exchange.binding)
                .map_err(|error| error.message().to_owned())
        };
        let plus = Binding::EndPoint(b"hash");
        assert_eq!(begin(END_POINT, plus).unwrap(), BASE64.encode("p=tls-server-end-point,,hash"));
        assert_eq!(begin("n", Binding::Declined).unwrap(), "biws");
        assert_eq!(begin("y", Binding::Impossible).unwrap(), BASE64.encode("y,,"));
        for (flag, binding, expected) in [
            ("y", Binding::Declined, "SCRAM channel binding negotiation error"),
            ("n", plus, "malformed SCRAM message"),
            ("p=tls-unique", plus, "unsupported SCRAM channel-binding type \"tls-unique\""),
            (END_POINT, Binding::Declined, "malformed SCRAM message"),
            (END_POINT, Binding::Impossible, "malformed SCRAM message"),
            ("x", Binding::Impossible, "malformed SCRAM message"),
        ] {
            assert_eq!(begin(flag, binding).unwrap_err(), expected, "{flag} {binding:?}");
        }
    }

    #[test]
    fn passwords_are_prepared_as_clients_prepare_them() {
        let verifier = Verifier::of_password("I\u{ad}X");
        assert_eq!(Verifier::salted("IX", &verifier.salt, ITERATIONS), verifier);
    }
}
