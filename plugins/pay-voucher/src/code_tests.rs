use fondaco_sdk::fake;
use proptest::prelude::*;

use super::*;

fn ten_euro() -> Code {
    Code {
        id: CodeId { batch: 0x1234_5678, serial: *b"\0\x01serial" },
        value: "10.00 EUR".parse().unwrap(),
        expires: Some(Day(22_000)),
    }
}

/// The text of these bytes, with a checksum that is right.
fn with_checksum(mut bytes: Vec<u8>) -> String {
    bytes.extend(crc32(&bytes).to_be_bytes());
    format!("{PREFIX}{}", base32::encode(&bytes))
}

fn bytes_of(text: &str) -> Vec<u8> {
    base32::decode(base32::tidy(text).unwrap().strip_prefix(PREFIX).unwrap()).unwrap()
}

/// A payload that we did sign.
fn signed(payload: &[u8]) -> String {
    with_checksum([payload, &keys::sign(KEY, &message(payload)).unwrap()].concat())
}

#[test]
fn reads_its_own_codes_however_they_are_typed() {
    let _host = fake::Host::install();
    let text = ten_euro().issue().unwrap();
    assert!(text.starts_with("FDV1-"), "{text}");
    assert!(text.split('-').skip(1).all(|group| group.len() <= 5), "{text}");
    for typed in [
        text.clone(),
        text.to_lowercase(),
        text.replace('-', ""),
        text.replace('-', " "),
        format!("  {}\n", text.replace('0', "o").replace('1', "l")),
        text.replace('1', "I"),
    ] {
        assert_eq!(Code::read(&typed).unwrap(), Ok(ten_euro()), "{typed}");
    }
}

#[test]
fn a_code_is_short_enough_to_print() {
    let _host = fake::Host::install();
    assert!(ten_euro().issue().unwrap().len() <= 180);
}

#[test]
fn the_checksum_is_the_one_of_the_standard() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
}

#[test]
fn every_slip_of_one_digit_and_every_swap_of_two_is_called_mistyped() {
    let _host = fake::Host::install();
    let text = base32::tidy(&ten_euro().issue().unwrap()).unwrap();
    let digits: Vec<char> = text.chars().collect();
    for i in PREFIX.len()..digits.len() {
        for other in "0123456789ABCDEFGHJKMNPQRSTVWXYZ".chars().filter(|o| *o != digits[i]) {
            let mut slip = digits.clone();
            slip[i] = other;
            let slip: String = slip.into_iter().collect();
            assert_eq!(Code::read(&slip).unwrap(), Err(Refusal::Mistyped), "digit {i} as {other}");
        }
        if i + 1 < digits.len() && digits[i] != digits[i + 1] {
            let mut swap = digits.clone();
            swap.swap(i, i + 1);
            let swap: String = swap.into_iter().collect();
            assert_eq!(Code::read(&swap).unwrap(), Err(Refusal::Mistyped), "digits {i} and {}", i + 1);
        }
    }
}

#[test]
fn no_forgery_of_one_bit_passes_even_with_its_checksum_made_right() {
    let _host = fake::Host::install();
    let mut bytes = bytes_of(&ten_euro().issue().unwrap());
    bytes.truncate(bytes.len() - CHECKSUM_BYTES);
    for bit in 0..bytes.len() * 8 {
        let mut forged = bytes.clone();
        forged[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(Code::read(&with_checksum(forged)).unwrap(), Err(Refusal::NotOurs), "bit {bit}");
    }
    for length in 0..bytes.len() {
        assert!(Code::read(&with_checksum(bytes[..length].to_vec())).unwrap().is_err(), "cut to {length} bytes");
    }
}

#[test]
fn a_code_of_another_key_is_not_ours() {
    let _host = fake::Host::install();
    let payload = ten_euro().payload();
    for signature in [keys::sign("other", &message(&payload)).unwrap(), keys::sign(KEY, &payload).unwrap(), vec![0; 64]]
    {
        let forged = with_checksum([payload.clone(), signature].concat());
        assert_eq!(Code::read(&forged).unwrap(), Err(Refusal::NotOurs));
    }
}

#[test]
fn says_what_is_no_code_at_all() {
    let _host = fake::Host::install();
    let check = |text: &str, refusal| assert_eq!(Code::read(text).unwrap(), Err(refusal), "{text:.40}");
    check("", Refusal::NoCode);
    check("HE110", Refusal::NoCode);
    check("FDV2-ABCDE", Refusal::NoCode);
    check("FDV1-ABCDU", Refusal::Character('U'));
    check("FDV1", Refusal::Mistyped);
    check("FDV1-ABCDE", Refusal::Mistyped);
    check(&"0".repeat(MAX_TEXT_BYTES + 1), Refusal::Mistyped);
}

#[test]
fn a_signed_payload_that_is_out_of_form_is_refused() {
    let _host = fake::Host::install();
    let good = ten_euro().payload();
    assert_eq!(Code::read(&signed(&good)).unwrap(), Ok(ten_euro()));
    let change = |at: usize, with: &[u8], len: usize| [&good[..at], with, &good[at + len..]].concat();
    for (why, payload) in [
        ("a later version", change(0, &[2], 1)),
        ("worth nothing", change(13, &[0], 2)),
        ("a number that is not in its shortest form", change(13, &[0xe8, 0x87, 0], 2)),
        ("a number beyond 64 bits", change(13, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], 2)),
        ("an asset of no such form", change(16, b"eur", 3)),
        ("a longer asset than is there", change(15, &[60], 1)),
        ("an exponent beyond reason", change(19, &[39], 1)),
        ("an expiry beyond the calendar", change(20, &[0xff, 0xff, 0xff, 0x7f], 3)),
        ("something behind the end", [&good[..], &[0]].concat()),
        ("a missing end", good[..good.len() - 1].to_vec()),
    ] {
        assert_eq!(Code::read(&signed(&payload)).unwrap(), Err(Refusal::Format), "{why}");
    }
}

proptest! {
    #[test]
    fn every_code_reads_back(
        batch: u32, serial: [u8; 8], minor in 1..=u64::MAX, exponent in 0..=MAX_EXPONENT, day in 0_u32..2_000_000,
        asset in prop::sample::select(vec!["EUR", "pts", "eip155:1/erc20:0x6b175474e89094c44da98b954eedeac495271d0f"]),
    ) {
        let _host = fake::Host::install();
        let value = Money { minor, asset: asset.parse().unwrap(), exponent };
        let code = Code { id: CodeId { batch, serial }, value, expires: (day > 0).then_some(Day(day)) };
        prop_assert_eq!(Code::read(&code.issue().unwrap()).unwrap(), Ok(code));
    }

    #[test]
    fn no_text_makes_it_panic(text in "(FDV1)?[0-9A-Za-z -]{0,200}|.{0,100}") {
        let _host = fake::Host::install();
        prop_assert!(Code::read(&text).unwrap().is_err());
    }
}
