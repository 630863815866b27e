//! Networks of containers: what leads in and out of them, and what does not. Each test has a machine of
//! its own (a network namespace) with neighbours, so that nothing of this machine's is touched.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a broken assumption of a test is a failed test"
)]

#[path = "../harness/mod.rs"]
mod harness;
mod world;

use harness::{Need, Running, finish, needs, parent_of, pss, until};
use std::fs;
use std::process::Command;
use world::{OURS, Space, World, wrapped};

const HERE: &[Need] = &[
    Need::Root,
    Need::Bases,
    Need::Busybox,
    Need::Program("ip"),
    Need::Program("unshare"),
    Need::Program("nsenter"),
    Need::Program("python3"),
];

#[test]
fn a_published_port_leads_in_and_nothing_else_does() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world.ok(&["run", "-d", "--name", "web", "-p", "8080:80", "web"]);
    let address = world.address("web");
    assert!(address.starts_with("172.29.0."), "{address}");
    // From outside, where the program sees who has come; and from the device itself.
    until("the server answers", || world.left.page("http://10.99.0.1:8080/").is_some());
    assert_eq!(world.left.page("http://10.99.0.1:8080/").as_deref(), Some("page"));
    assert!(world.run(&["logs", "web"]).all().contains("10.99.0.2"), "it sees the sender");
    for url in ["http://127.0.0.1:8080/", "http://10.99.0.1:8080/", "http://[::1]:8080/"] {
        assert_eq!(world.device.page(url).as_deref(), Some("page"), "{url}");
    }
    // From another container, by the device's address.
    let script = "wget -qO- http://172.29.0.1:8080/";
    assert_eq!(
        world.ok(&["run", "--rm", "--network", "bridge", "web", "sh", "-c", script]),
        "page"
    );
    // Not by its own address, which is only the device's and its neighbours'.
    assert_eq!(world.device.page(&format!("http://{address}/")).as_deref(), Some("page"));
    assert_eq!(world.left.page(&format!("http://{address}/")), None);
    assert_eq!(world.left.page("http://10.99.0.1:80/"), None);
    // The device passed nothing on before, and does so for containers only now.
    assert_eq!(world.device.sh("cat /proc/sys/net/ipv4/ip_forward").trim(), "1");
    assert_ne!(world.left.try_sh("busybox ping -c1 -W1 10.98.0.2").code, 0);
    assert_eq!(world.left.try_sh("busybox ping -c1 -W3 10.98.0.1").code, 0);
    // It is shown.
    assert_eq!(world.ok(&["port", "web", "80"]), "0.0.0.0:8080\n[::]:8080");
    let shown = world.ok(&["ps", "--format", "{{.Ports}}"]);
    assert_eq!(shown, "0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
    let host =
        world.field("web", "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}");
    assert_eq!(host, "8080");
    // Stopped, it leads nowhere, and the port is free.
    world.ok(&["stop", "-t", "0", "web"]);
    assert_eq!(world.left.page("http://10.99.0.1:8080/"), None);
    assert_eq!(world.ok(&["port", "web"]), "");
    world.ok(&["start", "web"]);
    until("it answers again", || world.left.page("http://10.99.0.1:8080/").is_some());
    world.end();
}

#[test]
fn containers_reach_the_world_under_the_address_of_the_device() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world.right.sh("(busybox nc -ll -p 7000 -e ss -tnH >/dev/null 2>&1 &)");
    let script = "nc -w 5 10.98.0.2 7000 </dev/null; ip addr show eth0; ip route";
    let said = world.ok(&["run", "--rm", "--network", "bridge", "web", "sh", "-c", script]);
    assert!(said.contains("[::ffff:10.98.0.1]:"), "{said}");
    assert!(said.contains("default via 172.29.0.1 dev eth0"), "{said}");
    assert!(said.contains("02:42:ac:1d:00:"), "{said}");
    // Sysctls of its own network, the host's address by name, its own name.
    let script =
        "cat /proc/sys/net/ipv4/ip_default_ttl; grep -c '172.29.0.1.host$' /etc/hosts; hostname -i";
    let words = ["run", "--rm", "--network", "bridge", "--sysctl", "net.ipv4.ip_default_ttl=77"];
    let more = ["--add-host", "host:host-gateway", "web", "sh", "-c", script];
    let said = world.ok(&[&words[..], &more].concat());
    assert!(said.starts_with("77\n1\n172.29.0."), "{said}");
    // A network without a way out.
    world.ok(&["network", "create", "--internal", "closed"]);
    let script = "nc -w 2 10.98.0.2 7000 </dev/null";
    let closed = ["run", "--rm", "--network", "closed", "web", "sh", "-c", script];
    assert_ne!(world.run(&closed).code, 0);
    world.end();
}

#[test]
fn containers_of_a_network_find_each_other_and_others_do_not() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    for name in ["lan", "other"] {
        world.ok(&["network", "create", name]);
    }
    let listed = world.ok(&["network", "ls", "--format", "{{.Name}} {{.Driver}}"]);
    assert_eq!(listed, "bridge bridge\nhost host\nnone null\nlan bridge\nother bridge");
    let words = ["run", "-d", "--name", "db", "--network", "lan", "--network-alias", "data"];
    world.ok(&[&words[..], &["-h", "box", "web"]].concat());
    let address = world.address("db");
    let ask = |network: &str, script: &str| {
        world.run(&["run", "--rm", "--network", network, "web", "sh", "-c", script])
    };
    until("it serves", || ask("lan", "wget -qO- http://db/").code == 0);
    for name in ["db", "data", "DB", "box", "db.lan"] {
        let said = ask("lan", &format!("wget -T 5 -qO- http://{name}/")).success().stdout;
        assert_eq!(said.trim(), "page", "{name}");
    }
    let said = ask("lan", "nslookup -type=aaaa db; ping -6 -c1 -W3 db").success().stdout;
    assert!(said.contains("1 packets received"), "{said}");
    world.ok(&["rename", "db", "store"]);
    assert_eq!(ask("lan", "wget -T 5 -qO- http://store/").success().stdout.trim(), "page");
    assert_ne!(ask("lan", "nslookup db").code, 0, "its old name");
    // Neither by name nor by address from elsewhere.
    for network in ["other", "bridge"] {
        assert_ne!(ask(network, "nslookup store").code, 0, "{network}");
        assert_ne!(ask(network, &format!("wget -T 2 -qO- http://{address}/")).code, 0, "{network}");
    }
    // One that shares the other's network is there itself.
    let said = ask("container:store", "wget -qO- http://127.0.0.1/").success().stdout;
    assert_eq!(said.trim(), "page");
    let busy = world.run(&["network", "rm", "lan"]).failure(1);
    assert!(busy.contains("network lan has active endpoints (store)"), "{busy}");
    let inspected = world.ok(&["network", "inspect", "lan"]);
    assert!(
        inspected.contains(&address) && inspected.contains("\"Name\": \"store\""),
        "{inspected}"
    );
    world.ok(&["rm", "-f", "store"]);
    assert_eq!(world.ok(&["network", "prune", "-f"]), "Deleted Networks:\nlan\nother");
    let missing = world.run(&["run", "--rm", "--network", "lan", "web", "true"]).failure(125);
    assert!(missing.contains("network lan not found"), "{missing}");
    let links = world.device.sh("ip -o link");
    assert!(!links.contains("lath-"), "{links}");
    assert_eq!(world.ok(&["fsck"]).lines().count(), 1);
    world.end();
}

/// Answers each packet at a port with it and who has sent it.
const ECHO: &str = "import socket,sys\n\
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.bind(('',int(sys.argv[1])))\n\
    while 1:\n d,a=s.recvfrom(70000); s.sendto(d+b' '+a[0].encode(),a)";
/// Sends a packet until there is an answer, and prints that.
const SAY: &str = "import socket,sys,time\n\
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(1)\n\
    for i in range(9):\n s.sendto(b'hi',(sys.argv[1],int(sys.argv[2])))\n try:\n  print(s.recv(99).decode()); break\n except OSError: time.sleep(.1)";

#[test]
fn packets_are_published_as_streams_are() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world.ok(&[
        "run",
        "-d",
        "--name",
        "names",
        "-p",
        "127.0.0.1:5300:53/udp",
        "-p",
        "53:53/udp",
        "web",
    ]);
    let pid = world.pid("names");
    let mut echo = Command::new("nsenter");
    let mut echo = echo
        .env(OURS.0, OURS.1)
        .args([&format!("--net=/proc/{pid}/ns/net"), "python3", "-c", ECHO, "53"])
        .spawn()
        .unwrap();
    let say = |space: &Space, address: &str, port: &str| {
        let mut command = Command::new("python3");
        let done = finish(&mut space.within(command.args(["-c", SAY, address, port])), &[]);
        done.success().stdout.trim().to_owned()
    };
    assert_eq!(say(&world.left, "10.99.0.1", "53"), "hi 10.99.0.2");
    assert_eq!(say(&world.device, "127.0.0.1", "5300"), "hi 172.29.0.1");
    assert_eq!(say(&world.device, "127.0.0.1", "53"), "hi 172.29.0.1");
    assert_eq!(say(&world.left, "10.99.0.1", "5300"), "", "that is the device's alone");
    echo.kill().unwrap();
    echo.wait().unwrap();
    world.end();
}

#[test]
fn a_port_is_one_containers_and_free_again_whatever_ends_it() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world.ok(&["run", "-d", "--name", "one", "-p", "8080:80", "web"]);
    let taken = world.run(&["run", "-d", "--name", "two", "-p", "8080:80", "web"]).failure(125);
    assert!(taken.contains("Bind for 0.0.0.0:8080 failed: port is already allocated"), "{taken}");
    world.ok(&["rm", "two"]);
    // Its keeper killed, nothing of it is left: no port, no link, no table.
    let keeper = parent_of(world.pid("one")).unwrap();
    let killed = rustix::process::Pid::from_raw(keeper).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    until("its links are gone", || !world.device.sh("ip -o link").contains(": lv"));
    until("the port is free", || {
        world.run(&["run", "-d", "--name", "three", "-p", "8080:80", "web"]).code == 0
            || world.run(&["rm", "-f", "three"]).code != 0
    });
    until("it answers", || world.left.page("http://10.99.0.1:8080/").is_some());
    // Chosen ports, and those that the image exposes.
    world.ok(&["run", "-d", "--name", "four", "-P", "--expose", "90-91", "web"]);
    let ports = world.ok(&["port", "four"]);
    let insides: Vec<_> = ports.lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = ["53/udp", "53/udp", "80/tcp", "80/tcp", "90/tcp", "90/tcp", "91/tcp", "91/tcp"];
    assert_eq!(insides, expected, "{ports}");
    let chosen = world.ok(&["port", "four", "80"]);
    let url =
        format!("http://10.99.0.1:{}/", chosen.lines().next().unwrap().split_once(':').unwrap().1);
    until("the chosen port answers", || world.left.page(&url).as_deref() == Some("page"));
    // It is the same one after the program has ended and begun again.
    world.ok(&["run", "-d", "--name", "five", "-p", "8081:80", "--restart", "always", "web"]);
    let first = world.pid("five");
    let killed = rustix::process::Pid::from_raw(first).unwrap();
    rustix::process::kill_process(killed, rustix::process::Signal::KILL).unwrap();
    until("it runs again", || {
        let pid = world.pid("five");
        pid != 0 && pid != first && world.left.page("http://10.99.0.1:8081/").is_some()
    });
    world.end();
}

#[test]
fn wishes_that_contradict_each_other_are_told() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    let said =
        world.run(&["run", "--rm", "--network", "host", "-p", "80:80", "web", "true"]).success();
    assert!(
        said.stderr.contains("published ports are discarded when using host network mode"),
        "{said}"
    );
    let run = |words: &[&str]| world.run(&[&["run", "--rm"], words, &["web", "true"]].concat());
    for (words, message) in [
        (&["-p", "80:x"][..], "invalid containerPort: x"),
        (&["-p", "80:80/sctp"], "sctp is not published"),
        (&["--ip", "172.29.0.9", "-p", "80"], "supported on user defined networks only"),
        (&["--network", "host", "--network-alias", "x"], "network aliases"),
        (&["--network", "nowhere"], "network nowhere not found"),
        (&["--network", "container:nobody"], "No such container: nobody"),
    ] {
        let said = run(words).failure(125);
        assert!(said.contains(message), "{words:?}: {said}");
    }
    world.ok(&["network", "create", "--subnet", "10.7.0.0/29", "small"]);
    let taken = world.run(&["network", "create", "small"]).failure(1);
    assert!(taken.contains("network with name small already exists"), "{taken}");
    let overlaps = world.run(&["network", "create", "--subnet", "10.7.0.0/16", "big"]).failure(1);
    assert!(overlaps.contains("overlaps"), "{overlaps}");
    let own = ["--network", "small", "--ip", "10.7.0.5"];
    let said = world.ok(&[&["run", "--rm"], &own[..], &["web", "hostname", "-i"]].concat());
    assert_eq!(said, "10.7.0.5");
    // Five addresses beside the device's own, and not one more.
    for number in 0..5 {
        world.ok(&["run", "-d", "--name", &format!("c{number}"), "--network", "small", "web"]);
    }
    let full = run(&["--network", "small"]).failure(125);
    assert!(full.contains("no free address left"), "{full}");
    let other = run(&own).failure(125);
    assert!(other.contains("10.7.0.5 is in use already"), "{other}");
    let fixed = world.run(&["network", "rm", "bridge"]).failure(1);
    assert!(fixed.contains("pre-defined network"), "{fixed}");
    world.end();
}

#[test]
fn a_file_says_which_network_is_the_usual_one() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    let links = |words: &[&str]| {
        let said = world.ok(&[&["run", "--rm"], words, &["web", "ls", "/sys/class/net"]].concat());
        said.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(links(&[]), "left lo right");
    let file = world.lath.store().join("network");
    fs::write(&file, "# of this device\nrun none\nbuild none  # no step needs any\n").unwrap();
    assert_eq!(links(&[]), "lo");
    assert_eq!(links(&["--network", "host"]), "left lo right");
    assert_eq!(links(&["-p", "8080:80"]), "eth0 lo", "who publishes a port has one");
    fs::write(world.lath.path("web/Dockerfile"), "FROM alpine\nRUN ls /sys/class/net >/links\n")
        .unwrap();
    world.ok(&["build", "-t", "links", "web"]);
    assert_eq!(world.ok(&["run", "--rm", "links", "cat", "/links"]), "lo");
    assert_eq!(world.ok(&["fsck"]).lines().count(), 1);
    fs::write(&file, "run bridge\n").unwrap();
    assert_eq!(links(&[]), "eth0 lo");
    fs::write(&file, "runs bridge\n").unwrap();
    let said = world.run(&["run", "--rm", "web", "true"]).failure(125);
    assert!(said.contains("has a line \"runs bridge\""), "{said}");
    fs::remove_file(&file).unwrap();
    world.end();
}

/// Sends what is no question to the name server, and then a question.
const NOISE: &str = "import os,socket\n\
    s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM); s.settimeout(5); a=('127.0.0.11',53)\n\
    for n in range(2000): s.sendto(os.urandom(n % 600),a)\n\
    while 1:\n\
    \x20s.sendto(b'\\x77\\x77\\x01\\0\\0\\x01\\0\\0\\0\\0\\0\\0\\x03web\\0\\0\\x01\\0\\x01',a)\n\
    \x20d=s.recv(600)\n\
    \x20if d[:2]==b'\\x77\\x77': break\n\
    print(d[3]&15, '.'.join(map(str,d[-4:])))";

#[test]
fn a_hostile_container_gets_nothing_by_its_name_server() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world.ok(&["run", "-d", "--name", "web", "--network", "bridge", "web"]);
    let pid = world.pid("web");
    let mut noise = Command::new("nsenter");
    noise.args([&format!("--net=/proc/{pid}/ns/net"), "python3", "-c", NOISE]);
    let said = finish(&mut noise, &[]).success().stdout;
    assert_eq!(said.trim(), format!("0 {}", world.address("web")));
    // Who serves it is nobody, and may do nothing.
    let keeper = parent_of(pid).unwrap();
    let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children")).unwrap();
    let helpers: Vec<_> =
        children.split_whitespace().filter(|child| **child != pid.to_string()).collect();
    let [helper] = helpers.as_slice() else { panic!("{children}") };
    let status = fs::read_to_string(format!("/proc/{helper}/status")).unwrap();
    for line in [
        "Uid:\t65534\t65534\t65534\t65534",
        "CapPrm:\t0000000000000000",
        "CapBnd:\t0000000000000000",
    ] {
        assert!(status.contains(line), "{status}");
    }
    let files = fs::read_dir(format!("/proc/{helper}/fd")).unwrap();
    let store = world.lath.store();
    for file in files {
        let target = fs::read_link(file.unwrap().path()).unwrap();
        assert!(!target.starts_with(&store), "{target:?} of the store is open");
    }
    // Two together take less than a megabyte and a half.
    until("both are small", || pss(keeper) + pss(helper.parse().unwrap()) < 1536);
    world.end();
}

/// Runs a program for which there are no nftables: socket(2) refuses their protocol, as a kernel without
/// them does. (seccomp(2); the numbers are those of x86-64.)
const WITHOUT_TABLES: &str = "import ctypes,os,struct,sys\n\
    def op(c,t,f,k): return struct.pack('HBBI',c,t,f,k)\n\
    code=op(32,0,0,0)+op(21,0,5,41)+op(32,0,0,16)+op(21,0,3,16)+op(32,0,0,32)+op(21,0,1,12)+op(6,0,0,0x50000|93)+op(6,0,0,0x7fff0000)\n\
    buffer=ctypes.create_string_buffer(code)\n\
    program=ctypes.create_string_buffer(struct.pack('HxxxxxxQ',len(code)//8,ctypes.addressof(buffer)))\n\
    libc=ctypes.CDLL(None,use_errno=True)\n\
    assert libc.prctl(22,2,ctypes.c_ulong(ctypes.addressof(program)),0,0)==0, ctypes.get_errno()\n\
    os.execv(sys.argv[1],sys.argv[1:])";

#[test]
fn without_nftables_ports_lead_in_all_the_same() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    let run = |words: &[&str]| {
        let command = wrapped(&["python3", "-c", WITHOUT_TABLES], &world.lath.command(words));
        finish(&mut world.device.within(&command), &[])
    };
    let said = run(&["run", "-d", "--name", "web", "-p", "8080:80", "web"]).success();
    assert!(said.stderr.contains("this kernel has no nftables"), "{said}");
    until("it answers", || world.left.page("http://10.99.0.1:8080/").is_some());
    assert_eq!(world.device.page("http://[::1]:8080/").as_deref(), Some("page"));
    // Its neighbours and the device, by name and address, and nobody else.
    let reach = |target: &str| {
        let script = format!("ping -c1 -W2 {target}");
        run(&["run", "--rm", "--network", "bridge", "web", "sh", "-c", &script]).code
    };
    assert_eq!((reach("web"), reach("172.29.0.1")), (0, 0));
    // Who knows no way back to a container hears of the device's own address only, or of nothing.
    world.right.sh("ip route del default");
    assert_ne!(reach("10.98.0.2"), 0);
    let doctor = run(&["doctor"]).stdout;
    assert!(doctor.contains("nftables"), "{doctor}");
    world.end();
}

#[test]
fn without_bridges_published_ports_lead_in_and_nothing_else_does() {
    if !needs(HERE) || !needs(&[Need::Program("strace")]) {
        return;
    }
    let world = World::new();
    let inner = world.lath.command(&["run", "--rm", "--name", "web", "-p", "8080:80", "web"]);
    // The fourth thing that lath asks the kernel for by netlink is the bridge.
    let inject = "inject=sendto:error=EOPNOTSUPP:when=4";
    let log = world.lath.text("strace.log");
    let strace = ["strace", "-f", "-qq", "-e", "trace=sendto", "-e", inject, "-o", &log];
    let command = wrapped(&strace, &inner);
    let running = Running::start(&mut world.device.within(&command));
    until("it answers", || world.left.page("http://10.99.0.1:8080/").as_deref() == Some("page"));
    let links = world.device.sh("ip -o link");
    assert!(!links.contains("lath0") && !links.contains(": lv"), "{links}");
    let pid = world.pid("web");
    let mut inside = Command::new("nsenter");
    inside.args([&format!("--net=/proc/{pid}/ns/net"), "ip", "-o", "link"]);
    assert_eq!(finish(&mut inside, &[]).success().stdout.lines().count(), 1, "a loopback alone");
    world.ok(&["kill", "web"]);
    assert_eq!(running.wait().code, 137);
    world.end();
}

/// Says to all that it is a router.
const ROUTER: &str = "import socket\n\
    s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,socket.IPPROTO_ICMPV6)\n\
    s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_MULTICAST_HOPS,255)\n\
    for i in range(3): s.sendto(bytes([134,0,0,0,64,0,7,8]+[0]*8),('ff02::1',0,0,socket.if_nametoindex('eth0')))";

/// CVE-2020-13401.
#[test]
fn a_container_that_calls_itself_a_router_leads_nobody() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world.ok(&["run", "-d", "--name", "web", "--network", "bridge", "web"]);
    let pid = world.pid("web");
    let within = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{pid}/ns/net")).args(words);
        finish(&mut command, &[]).success().stdout
    };
    until("its address is its own", || {
        within(&["ip", "-6", "addr", "show", "tentative"]).is_empty()
    });
    until("the device's is", || world.device.sh("ip -6 addr show lath0 tentative").is_empty());
    within(&["python3", "-c", ROUTER]);
    // An answer to a packet that came later shows that those were seen.
    assert_eq!(
        world.device.try_sh(&format!("busybox ping -c1 -W3 {}", world.address("web"))).code,
        0
    );
    let routes = world.device.sh("ip -6 route show default");
    assert!(routes.is_empty(), "{routes}");
    world.end();
}

#[test]
fn a_device_without_ipv6_has_networks_too() {
    if !needs(HERE) {
        return;
    }
    let world = World::new();
    world
        .device
        .sh("for c in all default; do echo 1 >/proc/sys/net/ipv6/conf/$c/disable_ipv6; done");
    world.ok(&["run", "-d", "--name", "web", "-p", "8080:80", "web"]);
    until("it answers", || world.left.page("http://10.99.0.1:8080/").is_some());
    assert_eq!(world.device.page("http://127.0.0.1:8080/").as_deref(), Some("page"));
    world.end();
}
