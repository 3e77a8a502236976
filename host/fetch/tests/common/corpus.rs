/// Ways to write "somewhere inside" so that one parser sees a public name or nothing special and another does not.
/// Included by the tests of the runtime, too, whose guest sends each of them.
fn corpus() -> Vec<String> {
    let mut hosts: Vec<String> = Vec::new();
    let inside_v4: [[u8; 4]; 9] = [
        [127, 0, 0, 1], [127, 255, 255, 254], [10, 0, 0, 1], [172, 16, 0, 1], [192, 168, 1, 1], [169, 254, 169, 254],
        [100, 64, 0, 1], [0, 0, 0, 0], [168, 63, 129, 16],
    ];
    for [a, b, c, d] in inside_v4 {
        let number = u32::from_be_bytes([a, b, c, d]);
        let low24 = number & 0x00ff_ffff;
        let low16 = number & 0xffff;
        hosts.extend([
            format!("{a}.{b}.{c}.{d}"),
            format!("{number}"),
            format!("0x{number:x}"),
            format!("0X{number:08X}"),
            format!("0{number:o}"),
            format!("0000{number:o}"),
            format!("0x{a:x}.0x{b:x}.0x{c:x}.0x{d:x}"),
            format!("0{a:o}.0{b:o}.0{c:o}.0{d:o}"),
            format!("00{a:o}.00{b:o}.00{c:o}.00{d:o}"),
            format!("{a:03}.{b:03}.{c:03}.{d:03}"),
            format!("{a}.{low24}"),
            format!("{a}.{b}.{low16}"),
            format!("0x{a:x}.{low24}"),
            format!("{a}.0x{low24:x}"),
            format!("{a}.{b}.{c}.{d}."),
            format!("{a}.{b}.{c}.0x{d:x}"),
            format!("{}.{b}.{c}.{d}", u32::from(a) + 256),
            format!("{a}%2e{b}%2e{c}%2e{d}"),
            format!("{a}\u{3002}{b}\u{3002}{c}\u{3002}{d}"),
            format!("{a}\u{ff0e}{b}\u{ff0e}{c}\u{ff0e}{d}"),
            format!("{a} .{b}.{c}.{d}"),
            format!("{a}.{b}.{c}.{d}\u{200b}"),
            format!("[::{a}.{b}.{c}.{d}]"),
            format!("[::ffff:{a}.{b}.{c}.{d}]"),
            format!("[::FFFF:{a}.{b}.{c}.{d}]"),
            format!("[0:0:0:0:0:ffff:{a}.{b}.{c}.{d}]"),
            format!("[::ffff:{:x}:{:x}]", number >> 16, low16),
            format!("[::ffff:0:{:x}:{:x}]", number >> 16, low16),
            format!("[64:ff9b::{a}.{b}.{c}.{d}]"),
            format!("[64:ff9b::{:x}:{:x}]", number >> 16, low16),
            format!("[64:ff9b:1::{:x}:{:x}]", number >> 16, low16),
            format!("[2002:{:x}:{:x}::1]", number >> 16, low16),
            format!("[2001:0:4136:e378:8000:63bf:{:x}:{:x}]", !number >> 16, !number & 0xffff),
            format!("[2a00:1450::5efe:{:x}:{:x}]", number >> 16, low16),
            format!("[2a00:1450::200:5efe:{:x}:{:x}]", number >> 16, low16),
            format!("{a}.{b}.{c}.{d}.nip.example"),
            format!("{a}-{b}-{c}-{d}.sslip.example"),
        ]);
    }
    hosts.extend(
        [
            "localhost", "LOCALHOST", "localhost.", "localhost.localdomain", "ip6-localhost", "metadata.google.internal",
            "metadata", "instance-data", "kubernetes.default.svc", "host.docker.internal", "router.lan", "printer.local",
            "[::]", "[::1]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::1%lo]", "[::1%25lo]",
            "[::0001]", "[0::1]", "[fe80::1]", "[fe80::1%eth0]", "[febf::1]", "[fec0::1]", "[fc00::1]", "[fd00:ec2::254]",
            "[fd20:ce::254]", "[FD00:EC2::254]", "[ff02::1]", "[ff05::1:3]", "[100::1]", "[2001:db8::1]", "[2001:2::1]",
            "[2001:10::1]", "[2001:20::1]", "[3fff::1]", "[5f00::1]", "[4000::1]", "224.0.0.1", "239.255.255.250",
            "240.0.0.1", "255.255.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1",
            "203.0.113.1", "100.100.100.200", "1.2.3", "1.2.3.4.5", "1..2.3", ".127.0.0.1", "127.0.0.1..", "127.0.0.1_",
            "0x7f.0.0.0x1", "0177.1", "127.1", "127.0.1", "0", "00", "0x0", "0.0.0", "\u{2460}27.0.0.1",
            "\u{24db}\u{24de}calhost", "xn--localhost-", "local\u{ad}host", "\u{ff4c}ocalhost", "127。0。0。1", "%6c%6f%63alhost",
        ]
        .map(str::to_owned),
    );
    let mut all: Vec<String> = hosts.iter().map(|host| format!("https://{host}/")).collect();
    all.extend(hosts.iter().step_by(3).map(|host| format!("http://{host}:80/latest/meta-data/")));
    // What surrounds a host, for two hosts that matter.
    for inside in ["127.0.0.1", "169.254.169.254", "[::1]"] {
        all.extend([
            format!("https://public.example@{inside}/"),
            format!("https://public.example:443@{inside}/"),
            format!("https://{inside}@public.example@{inside}/"),
            format!("https://{inside}#@public.example/"),
            format!("https://{inside}\\@public.example/"),
            format!("https://public.example\\@{inside}/"),
            format!("https://{inside}%00.public.example/"),
            format!("https://{inside}%23@public.example/"),
            format!("https://{inside}%2f@public.example/"),
            format!("https://{inside};public.example/"),
            format!("https://{inside}&@public.example/"),
            format!("https://{inside}\t.public.example/"),
            format!("https://{inside}\r\nhost: public.example/"),
            format!("https:///{inside}/"),
            format!("https:////{inside}/"),
            format!("https:\\\\{inside}\\"),
            format!("https:{inside}/"),
            format!("https://{inside}:443:80/"),
            format!("https://{inside}:0/"),
            format!("https://{inside}:+443/"),
            format!("https://{inside}:065979/"),
            format!("https://{inside}:443abc/"),
            format!(" https://{inside}/"),
            format!("HTTPS://{inside}/"),
            format!("hTTp://{inside}/"),
            format!("ftp://{inside}/"),
            format!("gopher://{inside}:6379/_FLUSHALL"),
            format!("dict://{inside}:11211/stats"),
            format!("//{inside}/"),
            format!("https://[{inside}]/"),
            format!("https://<{inside}>/"),
            format!("https://public.example,{inside}/"),
            format!("https://public.example {inside}/"),
            format!("https://public.example?@{inside}/\\"),
            format!("jar:https://{inside}!/"),
            format!("https://{inside}/#https://public.example/"),
        ]);
    }
    all
}
