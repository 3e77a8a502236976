//! Announcements of channels over gossip: "this publisher's catalogue changed", signed, in a topic of its own for each
//! channel that this node follows or publishes.
//!
//! The loop owns the [`Gossip`] state and asks it about every message before it is passed on. Passed on is what is newer than
//! all that was seen of its channel and signed by the publisher. What is older is left lying, what is forged is refused and
//! noted. Nothing of the catalogue itself goes this way: it is asked for (`/fondaco/ask/1`).

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant, SystemTime};

use fondaco_schemas::{ChannelHead, PublicKey};
use libp2p::PeerId;
use libp2p::gossipsub::{
    self, ConfigBuilder, IdentTopic, MaxCountSubscriptionFilter, MessageAcceptance, MessageAuthenticity, MessageId,
    PeerScoreParams, PeerScoreThresholds, TopicHash, TopicScoreParams, TopicSubscriptionFilter, ValidationMode,
};
use libp2p::identity::Keypair;
use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::gate::Offence;
use crate::net::Net;
use crate::rate::{Fair, Rates};
use crate::swarm::Command;

/// The most channels that a node follows or publishes. Their names are told to each peer in one message.
pub const MAX_CHANNELS: usize = 128;
/// The longest gossip message, in bytes, with all that is in one transmission.
const MAX_TRANSMIT: usize = 16 << 10;
/// The longest announcement.
const MAX_HEAD: usize = 1024;
/// How old an announcement may be, and how far from the future.
const OLDEST: Duration = Duration::from_hours(24);
const AHEAD: Duration = Duration::from_mins(10);
/// Messages of one peer that were of no use: so many at once, and so many in a second after that.
const BURST: f64 = 64.0;
const PER_SECOND: f64 = 4.0;
/// Announcements of one channel that are passed on: so many at once, and so many in a second after that.
const CHANNEL_BURST: f64 = 16.0;
const CHANNEL_PER_SECOND: f64 = 1.0;

/// The behaviour.
pub(crate) type Behaviour = gossipsub::Behaviour<gossipsub::IdentityTransform, MaxCountSubscriptionFilter<Ours>>;

/// Peers may tell that they listen to channels, and to nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours;

impl TopicSubscriptionFilter for Ours {
    fn can_subscribe(&mut self, topic: &TopicHash) -> bool {
        channel_of(topic.as_str()).is_some()
    }
}

/// The topic of a channel.
fn topic(channel: &PublicKey) -> IdentTopic {
    IdentTopic::new(format!("fondaco/channel/{channel}"))
}

fn channel_of(topic: &str) -> Option<PublicKey> {
    topic.strip_prefix("fondaco/channel/")?.parse().ok()
}

/// The key under which those who have a channel's index announce themselves in the hash table.
pub(crate) fn provider_key(channel: &PublicKey) -> [u8; 32] {
    *blake3::Hasher::new_derive_key("fondaco 2026 channel provider record")
        .update(channel.as_bytes())
        .finalize()
        .as_bytes()
}

/// Makes the behaviour.
pub(crate) fn behaviour(identity: &Keypair) -> Result<Behaviour> {
    let fail = |why: &dyn std::fmt::Display| Error::Transport { why: format!("gossip: {why}") };
    let config = ConfigBuilder::default()
        .protocol_id_prefix("/fondaco/gossip")
        .max_transmit_size(MAX_TRANSMIT)
        .validation_mode(ValidationMode::Strict)
        .validate_messages()
        // By what it says, not by who sends it: the same announcement does not come as many.
        .message_id_fn(|message| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(message.topic.as_str().as_bytes()).update(&[0]).update(&message.data);
            MessageId::from(hasher.finalize().as_bytes().to_vec())
        })
        .duplicate_cache_time(Duration::from_mins(5))
        .connection_handler_queue_len(256)
        .build()
        .map_err(|e| fail(&e))?;
    let filter = MaxCountSubscriptionFilter {
        filter: Ours,
        max_subscribed_topics: MAX_CHANNELS * 2,
        max_subscriptions_per_request: MAX_CHANNELS * 2,
    };
    let authenticity = MessageAuthenticity::Signed(identity.clone());
    let mut behaviour = Behaviour::new_with_subscription_filter(authenticity, config, filter).map_err(|e| fail(&e))?;
    // How many connections one address may have is the gate's matter.
    let score = PeerScoreParams { ip_colocation_factor_weight: 0.0, ..PeerScoreParams::default() };
    behaviour.with_peer_score(score, PeerScoreThresholds::default()).map_err(|e| fail(&e))?;
    Ok(behaviour)
}

/// Channels are quiet: nobody is blamed for having nothing to say, and whoever says what is wrong is out soon.
fn score() -> TopicScoreParams {
    TopicScoreParams {
        time_in_mesh_weight: 0.01,
        time_in_mesh_quantum: Duration::from_secs(1),
        time_in_mesh_cap: 300.0,
        first_message_deliveries_weight: 0.5,
        first_message_deliveries_cap: 20.0,
        mesh_message_deliveries_weight: 0.0,
        mesh_failure_penalty_weight: 0.0,
        invalid_message_deliveries_weight: -50.0,
        invalid_message_deliveries_decay: 0.9,
        ..TopicScoreParams::default()
    }
}

/// An announcement that came and was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it says.
    pub head: ChannelHead,
    /// Who passed it on, and so has it, or is near somebody who does.
    pub from: PeerId,
}

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accept(ChannelHead),
    /// It is not passed on, and nobody is to blame, or not yet.
    Ignore,
    Reject,
}

impl Verdict {
    pub fn acceptance(&self) -> MessageAcceptance {
        match self {
            Self::Accept(_) => MessageAcceptance::Accept,
            Self::Ignore => MessageAcceptance::Ignore,
            Self::Reject => MessageAcceptance::Reject,
        }
    }
}

/// What is known of the channels.
#[derive(Debug)]
pub(crate) struct Gossip {
    /// By channel, the highest number that was seen.
    seen: HashMap<PublicKey, u64>,
    useless: Rates<PeerId>,
    busy: Rates<PublicKey>,
    heard: Option<mpsc::Sender<Heard>>,
}

impl Default for Gossip {
    fn default() -> Self {
        let (useless, busy) = (Rates::new(BURST, PER_SECOND), Rates::new(CHANNEL_BURST, CHANNEL_PER_SECOND));
        Self { seen: HashMap::new(), useless, busy, heard: None }
    }
}

impl Gossip {
    pub fn listen(&mut self, heard: mpsc::Sender<Heard>) {
        self.heard = Some(heard);
    }

    /// Follows these channels, each known up to a number, and no others. Answers the keys that are announced for them.
    pub fn set(&mut self, behaviour: &mut Behaviour, channels: Vec<(PublicKey, u64)>) -> HashSet<[u8; 32]> {
        let wanted: HashMap<PublicKey, u64> = channels.into_iter().take(MAX_CHANNELS).collect();
        self.seen.retain(|channel, _| {
            let stays = wanted.contains_key(channel);
            if !stays {
                behaviour.unsubscribe(&topic(channel));
            }
            stays
        });
        for (channel, number) in &wanted {
            let is_new = !self.seen.contains_key(channel);
            let seen = self.seen.entry(*channel).or_default();
            *seen = (*seen).max(*number);
            if is_new {
                let _ = behaviour.set_topic_params(topic(channel), score());
                if let Err(error) = behaviour.subscribe(&topic(channel)) {
                    tracing::error!(%channel, %error, "a channel is not listened to");
                }
            }
        }
        wanted.keys().map(provider_key).collect()
    }

    /// Publishes an announcement of this node's own.
    pub fn publish(&mut self, behaviour: &mut Behaviour, channel: &PublicKey, sequence: u64, head: Vec<u8>) {
        if let Some(seen) = self.seen.get_mut(channel) {
            *seen = (*seen).max(sequence);
        }
        if let Err(error) = behaviour.publish(topic(channel), head) {
            // Who begins to listen later asks.
            tracing::debug!(%channel, %error, "an announcement went to nobody");
        }
    }

    /// Looks at a message that `from` passed on. Answers what becomes of it, and what `from` is to be blamed for.
    pub fn judge(&mut self, from: PeerId, message: &gossipsub::Message) -> (Verdict, Option<Offence>) {
        let Some(channel) = channel_of(message.topic.as_str()) else {
            return (Verdict::Reject, Some(Offence::Protocol));
        };
        let now = Instant::now();
        // Whose messages were of no use for long is not listened to for a while: a look costs a signature.
        if self.useless.is_spent(&from, now) && !self.claims_news(&channel, &message.data) {
            let offence = (self.useless.take(from, now) == Fair::Flood).then_some(Offence::Flood);
            return (Verdict::Ignore, offence);
        }
        let verdict = self.look(channel, &message.data, now);
        match &verdict {
            Verdict::Accept(head) => {
                if let Some(heard) = &self.heard {
                    // If nobody takes them, there are others to come, and what is missing is asked for from time to time.
                    let _ = heard.try_send(Heard { head: head.clone(), from });
                }
                (verdict, None)
            }
            Verdict::Ignore => {
                self.useless.take(from, now);
                (verdict, None)
            }
            Verdict::Reject => {
                self.useless.take(from, now);
                (verdict, Some(Offence::Forgery))
            }
        }
    }

    /// Whether it says to be newer than what is known, which costs no signature to see. Whoever is not listened to could
    /// otherwise be the first to pass something on, and nobody would take it from others after that.
    fn claims_news(&self, channel: &PublicKey, data: &[u8]) -> bool {
        let claimed = (data.len() <= MAX_HEAD).then(|| fondaco_trust::channel::claimed_sequence(data)).flatten();
        claimed.is_some_and(|claimed| self.seen.get(channel).is_some_and(|seen| claimed > *seen))
    }

    fn look(&mut self, channel: PublicKey, data: &[u8], now: Instant) -> Verdict {
        let Some(seen) = self.seen.get_mut(&channel) else { return Verdict::Ignore };
        if data.len() > MAX_HEAD {
            return Verdict::Reject;
        }
        let head = match fondaco_trust::channel::verify_head(&channel, data) {
            Ok(head) => head,
            Err(error) => {
                tracing::warn!(%channel, %error, "a forged announcement is refused");
                return Verdict::Reject;
            }
        };
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_old =
            head.time.saturating_add(OLDEST.as_secs()) < time || head.time > time.saturating_add(AHEAD.as_secs());
        // A publisher who floods its own channel is not passed on, and those who pass on what it signed are not blamed.
        if head.sequence <= *seen || is_old || self.busy.take(channel, now) != Fair::Yes {
            return Verdict::Ignore;
        }
        *seen = head.sequence;
        Verdict::Accept(head)
    }
}

impl Net {
    /// Listens to the announcements of these channels, each known up to a number, and to no others; tells the hash table
    /// that this node has their index. At most [`MAX_CHANNELS`].
    pub async fn channels(&self, channels: Vec<(PublicKey, u64)>) -> Result<()> {
        self.send(Command::Channels { channels }).await
    }

    /// Announces that this node's own channel changed. `head` is signed.
    pub async fn tell_channel(&self, channel: PublicKey, sequence: u64, head: Vec<u8>) -> Result<()> {
        self.send(Command::TellChannel { channel, sequence, head }).await
    }

    /// Where announcements come out that are right and new. There is one such place; the last one counts. Announcements
    /// that find it full are left out.
    pub async fn heard(&self) -> Result<mpsc::Receiver<Heard>> {
        let (heard, hearing) = mpsc::channel(64);
        self.send(Command::Hear { heard }).await?;
        Ok(hearing)
    }
}

#[cfg(test)]
mod tests {
    use fondaco_schemas::{BlobHash, Payload, Signed};
    use fondaco_trust::KeyPair;

    use super::*;

    struct Scene {
        gossip: Gossip,
        key: KeyPair,
    }

    impl Scene {
        fn new(seen: u64) -> Self {
            let (mut gossip, key) = (Gossip::default(), KeyPair::generate().unwrap());
            gossip.seen.insert(key.public(), seen);
            Self { gossip, key }
        }

        fn head(&self, by: &KeyPair, sequence: u64, age: i64) -> Vec<u8> {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
            let time = now.checked_add_signed(-age).unwrap();
            let head = ChannelHead { publisher: self.key.public(), sequence, time, newest: BlobHash::new([1; 32]) };
            fondaco_trust::channel::sign_head(by, &head).unwrap()
        }

        fn judge(&mut self, from: PeerId, data: Vec<u8>) -> (Verdict, Option<Offence>) {
            let topic = topic(&self.key.public()).hash();
            self.gossip.judge(from, &gossipsub::Message { source: None, data, sequence_number: None, topic })
        }
    }

    #[test]
    fn what_is_newer_is_passed_on_what_is_older_left_lying_and_what_is_forged_refused() {
        let mut scene = Scene::new(5);
        let (mallory, peer) = (KeyPair::generate().unwrap(), PeerId::random());
        let key = KeyPair::from_seed(&scene.key.seed()).unwrap();
        let day = 24 * 3600;
        for (data, accepted, offence) in [
            (scene.head(&key, 5, 0), false, None),
            (scene.head(&key, 4, 0), false, None),
            (scene.head(&key, 6, 0), true, None),
            // Replayed, also by somebody who has it from long ago.
            (scene.head(&key, 6, 0), false, None),
            (scene.head(&key, 7, day + 60), false, None),
            (scene.head(&key, 7, -3600), false, None),
            (scene.head(&mallory, 8, 0), false, Some(Offence::Forgery)),
            (vec![0; 100], false, Some(Offence::Forgery)),
            (vec![0; 15_000], false, Some(Offence::Forgery)),
            (scene.head(&key, 7, 60), true, None),
        ] {
            let (verdict, found) = scene.judge(peer, data);
            assert_eq!((matches!(verdict, Verdict::Accept(_)), found), (accepted, offence), "{verdict:?}");
            assert_eq!(verdict == Verdict::Reject, offence.is_some());
        }
        assert_eq!(scene.gossip.seen[&key.public()], 7, "what was refused moved nothing");
    }

    #[test]
    fn a_flood_costs_few_signatures_and_its_sender_its_place() {
        let mut scene = Scene::new(5);
        let old = scene.head(&KeyPair::from_seed(&scene.key.seed()).unwrap(), 3, 0);
        let (flooder, begin) = (PeerId::random(), Instant::now());
        let mut blamed = 0;
        for _ in 0..1_000_000 {
            blamed += usize::from(scene.judge(flooder, old.clone()).1 == Some(Offence::Flood));
        }
        assert!(blamed > 1000, "{blamed}");
        // A million signatures would take a minute.
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        let new = scene.head(&KeyPair::from_seed(&scene.key.seed()).unwrap(), 6, 0);
        assert!(matches!(scene.judge(PeerId::random(), new).0, Verdict::Accept(_)), "others are heard");
        for _ in 0..20_000 {
            scene.judge(PeerId::random(), old.clone());
        }
        assert!(scene.gossip.useless.len() <= 4096);
    }

    #[test]
    fn a_publisher_who_floods_its_own_channel_is_slowed_and_nobody_is_blamed() {
        let mut scene = Scene::new(0);
        let key = KeyPair::from_seed(&scene.key.seed()).unwrap();
        let mut accepted = 0;
        for sequence in 1..500 {
            let (verdict, blame) = scene.judge(PeerId::random(), scene.head(&key, sequence, 0));
            accepted += u64::from(matches!(verdict, Verdict::Accept(_)));
            assert_eq!(blame, None);
        }
        assert!((16..40).contains(&accepted), "{accepted}");
    }

    #[test]
    fn only_channels_are_topics() {
        let key = KeyPair::generate().unwrap().public();
        assert!(Ours.can_subscribe(&topic(&key).hash()));
        for other in ["", "fondaco/channel/", "fondaco/channel/abc", "eth2/blocks"] {
            assert!(!Ours.can_subscribe(&IdentTopic::new(other).hash()), "{other}");
        }
    }

    #[test]
    fn an_announcement_is_short_also_where_its_publisher_signed_it() {
        let mut scene = Scene::new(5);
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        let head = ChannelHead { publisher: scene.key.public(), sequence: 6, time, newest: BlobHash::new([1; 32]) };
        // One field more, which is read over, with 1024 bytes.
        let mut payload = head.to_bytes().unwrap();
        assert_eq!(payload[0], 0xa4);
        payload[0] = 0xa5;
        payload.extend([9, 0x59, 0x04, 0x00]);
        payload.extend([0; 1024]);
        let signature = fondaco_trust::release::sign_bytes(&scene.key, ChannelHead::TYPE, &payload);
        let long = Signed::<ChannelHead>::from_parts(payload, scene.key.public(), signature).encode();
        assert!(fondaco_trust::channel::verify_head(&scene.key.public(), &long).is_ok(), "it is signed");
        assert_eq!(scene.judge(PeerId::random(), long), (Verdict::Reject, Some(Offence::Forgery)));
    }
}
