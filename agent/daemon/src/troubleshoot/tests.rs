use std::net::TcpListener as StdListener;

use super::*;

/// A folder with a configuration file for `beta` that says this.
fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    fs::write(folder.path().join("beta"), config).expect("the folder is writable");
    folder
}

async fn looked_at(config: &str, asked: &[&str]) -> Report {
    let folder = folder(config);
    let found = configurations(folder.path()).expect("the folder is readable");
    let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
    look(&found, &asked).await
}

/// An address at which nobody listens.
fn nobody() -> String {
    let listener = StdListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").to_string()
}

#[tokio::test]
async fn who_is_asked_for_and_not_there_is_a_problem() {
    let report = looked_at("endpoints:\n- http://127.0.0.1:1\n", &["gamma"]).await;
    assert_eq!(report.broken, 1);
    assert_eq!(
        report.text,
        "Found 1 remote cluster configurations\nTroubleshooting filtered subset of clusters: gamma\n\n\
         Remote cluster \"gamma\":\n❌ Configuration not found\n"
    );
}

#[tokio::test]
async fn a_file_that_is_none_is_a_problem() {
    let report = looked_at("endpoints: [\n", &[]).await;
    assert_eq!(report.broken, 1, "{}", report.text);
    assert!(report.text.contains("❌ Cannot use the configuration: "), "{}", report.text);
}

#[tokio::test]
async fn nobody_listens() {
    let address = nobody();
    let report = looked_at(&format!("endpoints:\n- http://{address}\n"), &[]).await;
    assert!(report.text.contains("     ✅ Hostname resolved to: 127.0.0.1\n"), "{}", report.text);
    let refused = format!("     ❌ Cannot establish TCP connection to {address}: Connection refused");
    assert!(report.text.contains(&refused), "{}", report.text);
    assert_eq!(report.broken, 2, "the endpoint, and with it the client: {}", report.text);
}

#[tokio::test]
async fn certificates_that_are_missing_or_expired_are_problems() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    (parameters.not_before, parameters.not_after) =
        (rcgen::date_time_ymd(2020, 1, 1), rcgen::date_time_ymd(2020, 2, 1));
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = parameters.self_signed(&key).expect("a certificate");
    fs::write(folder.path().join("ca.crt"), certificate.pem()).expect("the folder is writable");
    let (ca, gone) = (folder.path().join("ca.crt"), folder.path().join("gone"));
    let config = format!(
        "endpoints:\n- http://{}\ntrusted-ca-file: {}\ncert-file: {gone}\nkey-file: {gone}\n",
        nobody(),
        ca.display(),
        gone = gone.display(),
    );
    let report = looked_at(&config, &["beta"]).await;
    assert!(report.text.contains("   ❌ The certificate has expired\n"), "{}", report.text);
    assert!(report.text.contains("   ❌ TLS client certificates: "), "{}", report.text);
    assert_eq!(report.broken, 4, "{}", report.text);
}
