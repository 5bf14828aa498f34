use std::{collections::BTreeMap, net::SocketAddrV4, sync::Arc};

use futures::FutureExt;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    Call, File, Order, Outpost, OutpostLink, Request, monotonic_ns, receive, request::RelayTarget, send,
    serve::answer_all,
};

/// An outpost on this machine whose engine sends back what it is asked, and then each line that comes.
async fn outpost() -> Arc<Outpost> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let link = OutpostLink {
        clusters: vec!["beta".parse().unwrap()],
        management: "02:62:6d:01:00:01".to_owned(),
        address: "127.0.0.1/8".parse().unwrap(),
        listens: address(&listener),
        segments: BTreeMap::new(),
    };
    let served = link.clone();
    tokio::spawn(async move {
        let echo = |question: Value, mut reader, mut writer| {
            async move {
                send(&mut writer, &json!({"done": question})).await?;
                while let Some(line) = receive::<Value>(&mut reader).await? {
                    send(&mut writer, &line).await?;
                }
                Ok(())
            }
            .boxed()
        };
        drop(answer_all(&listener, served, 2.5, Box::new(echo)).await);
    });
    Arc::new(Outpost::at(link).await.unwrap())
}

fn address(listener: &TcpListener) -> SocketAddrV4 {
    match listener.local_addr().unwrap() {
        std::net::SocketAddr::V4(address) => address,
        std::net::SocketAddr::V6(_) => unreachable!("it was bound to an address of IPv4"),
    }
}

#[tokio::test]
async fn the_clock_of_the_same_machine_is_ours() {
    let outpost = outpost().await;
    assert_eq!(outpost.hello().slowness.to_bits(), 2.5_f64.to_bits());
    let (now, error) = (monotonic_ns(), u64::try_from(outpost.clock_error().as_nanos()).unwrap());
    // A measured offset is wrong by no more than half of the time that question and answer took.
    assert!(outpost.our_time(now).abs_diff(now) <= error, "{} is not within {error} ns", outpost.our_time(now));
}

#[tokio::test]
async fn questions_go_to_the_engine_and_come_back() {
    let outpost = outpost().await;
    assert_eq!(outpost.ask::<Value>(&json!({"pods": [1]})).await.unwrap(), json!({"pods": [1]}));
    let (mut reader, mut writer) = outpost.listen(&"maps").await.unwrap();
    send(&mut writer, &true).await.unwrap();
    assert_eq!(receive::<Value>(&mut reader).await.unwrap(), Some(json!(true)));
    drop(writer);
    assert_eq!(receive::<Value>(&mut reader).await.unwrap(), None, "it ends with our half");
}

#[tokio::test]
async fn a_run_that_is_not_up_there_takes_no_orders() {
    let order = Request::Order("k3f9x2".parse().unwrap(), Order::Kill("etcd-beta".to_owned()));
    let error = outpost().await.call::<Value>(&Call::Driver(order)).await.unwrap_err();
    assert_eq!(error.act, "ask the machine of beta");
    assert_eq!(error.source.to_string(), "no run `k3f9x2` is up here");
}

#[tokio::test]
async fn files_are_written_there() {
    let folder = tempfile::tempdir().unwrap();
    let files = vec![File { path: folder.path().join("ca.crt"), content: "new".to_owned() }];
    outpost().await.call::<()>(&Call::Driver(Request::WriteFiles(files.clone()))).await.unwrap();
    assert_eq!(File::all_of(folder.path()).unwrap(), files);
    let nowhere = vec![File { path: folder.path().join("no/such"), content: String::new() }];
    let error = outpost().await.call::<()>(&Call::Driver(Request::WriteFiles(nowhere))).await.unwrap_err();
    assert!(error.source.to_string().contains("no/such"), "{}", error.source);
}

#[tokio::test]
async fn a_relay_passes_bytes_both_ways_and_the_end() {
    let (outpost, far, near) = (
        outpost().await,
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
        TcpListener::bind("127.0.0.1:0").await.unwrap(),
    );
    let entrance = address(&near);
    outpost.relay_tcp(near, RelayTarget::Tcp(None, address(&far)));
    let mut client = TcpStream::connect(entrance).await.unwrap();
    let (mut server, _) = far.accept().await.unwrap();
    client.write_all(b"question").await.unwrap();
    let mut bytes = [0; 8];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"question");
    server.write_all(b"answered").await.unwrap();
    client.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"answered");
    drop(server);
    assert_eq!(client.read(&mut bytes).await.unwrap(), 0, "the end is passed on");
    // Who is gone there is gone here.
    drop(far);
    let mut refused = TcpStream::connect(entrance).await.unwrap();
    assert!(matches!(refused.read(&mut bytes).await, Ok(0) | Err(_)));
}
