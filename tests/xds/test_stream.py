"""One stream, told step by step: what is said, and what is heard because of it."""

import pytest

from plait.resource import CLUSTER, ENDPOINTS, ROUTES
from plait.xds.messages import Accepted, Rejected
from tests.xds.talk import Talk, snapshot

WHOLE = "c:A@1 e:A@1 l:L@1 s:S@1 r:R@1"


def started(text: str = WHOLE) -> Talk:
    """A proxy that has come up as Envoy does, and has everything of this snapshot."""
    talk = Talk(text)
    wanted = snapshot(text)

    def names(type_url: str) -> str:
        return " ".join(f"+{name}" for name in wanted[type_url])

    talk.says("c")
    if ENDPOINTS in wanted:
        talk.says("e", names(ENDPOINTS))
        talk.acks("e")
    talk.acks("c")
    for letter in "ls":
        talk.says(letter)
        talk.acks(letter)
    if ROUTES in wanted:
        talk.says("r", names(ROUTES))
        talk.acks("r")
    assert talk.synced
    return talk


def test_a_cold_start_follows_what_the_proxy_asks_for() -> None:
    talk = Talk(WHOLE)
    assert talk.says("c") == ["c +A@1"]
    assert talk.says("e", "+A") == ["e +A@1"]
    assert talk.acks("c") == []
    assert talk.says("l") == [], "the listener waits for the endpoints"
    assert talk.acks("e") == ["l +L@1"]
    assert talk.says("s") == []
    assert talk.acks("l") == ["s +S@1"]
    assert talk.says("r", "+R") == []
    assert talk.acks("s") == ["r +R@1"]
    assert not talk.synced
    assert talk.acks("r") == []
    assert talk.synced


@pytest.mark.parametrize(
    ("words", "heard"),
    [
        ("", ["c +A@1 +B@1"]),
        ("+*", ["c +A@1 +B@1"]),
        ("+A", ["c +A@1"]),
        ("+A +none", ["c +A@1 -none"]),
        ("+none", ["c -none"]),
        ("A@1 B@1", []),
        ("A@0 B@1", ["c +A@1"]),
        ("+* +A A@1", ["c +B@1"]),
        ("+A A@1", []),
        ("+A A@0", ["c +A@1"]),
        ("A@1 B@1 gone@1", ["c -gone"]),
        ("+A +gone A@1 gone@1", ["c -gone"]),
    ],
)
def test_the_first_request_is_answered_with_what_it_lacks(words: str, heard: list[str]) -> None:
    assert Talk("c:A@1 c:B@1").says("c", words) == heard


@pytest.mark.parametrize("letter", ["c", "l", "s", "x"])
def test_a_wildcard_of_which_nothing_exists_is_answered_with_nothing(letter: str) -> None:
    """Envoy's start waits for an answer, be it empty."""
    talk = Talk("")
    assert talk.says(letter) == [letter]
    assert talk.acks(letter) == []


def test_a_name_that_does_not_exist_is_sent_when_it_does() -> None:
    talk = Talk("")
    assert talk.says("e", "+A") == ["e -A"]
    assert talk.acks("e") == []
    assert talk.publish("e:A@1") == ["e +A@1"]


def test_a_name_asked_for_again_is_sent_again() -> None:
    talk = started()
    assert talk.says("r", "+R") == ["r +R@1"]
    assert talk.acks("r") == []


def test_a_name_asked_for_again_while_it_is_on_its_way_is_sent_after_it() -> None:
    talk = Talk("e:A@1")
    assert talk.says("e", "+A") == ["e +A@1"]
    assert talk.says("e", "-A") == []
    assert talk.says("e", "+A") == []
    assert talk.acks("e") == ["e +A@1"]
    assert talk.acks("e") == []


def test_a_name_asked_for_again_while_its_absence_is_on_its_way_is_answered_again() -> None:
    talk = Talk("")
    assert talk.says("e", "+A") == ["e -A"]
    assert talk.says("e", "+A") == []
    assert talk.acks("e") == ["e -A"]


def test_what_is_unsubscribed_is_forgotten() -> None:
    talk = started("e:A@1 e:B@1")
    assert talk.says("e", "-A") == []
    assert talk.publish("e:A@2 e:B@1") == []
    assert talk.publish("e:B@1") == []
    assert talk.publish("e:A@2 e:B@2") == ["e +B@2"]


def test_a_name_may_be_asked_for_beside_the_wildcard() -> None:
    talk = Talk("c:A@1 c:B@1")
    assert talk.says("c") == ["c +A@1 +B@1"]
    assert talk.acks("c", "+A +none") == ["c +A@1 -none"]
    assert talk.acks("c", "-none") == ["c -none"]
    assert talk.acks("c", "-*") == []
    assert talk.publish("c:A@2 c:B@2 c:none@1") == ["c +A@2"], "the name stays, the wildcard is gone"


def test_a_change_sends_what_changed_and_nothing_else() -> None:
    talk = started("c:A@1 c:B@1 e:A@1 e:B@1 l:L@1 s:S@1 r:R@1 r:Q@1")
    assert talk.publish("c:A@1 c:B@1 e:A@1 e:B@1 l:L@1 s:S@1 r:R@2 r:Q@1") == ["r +R@2"]
    assert talk.acks("r") == []
    assert talk.publish("c:A@1 c:B@1 e:A@1 e:B@2 l:L@1 s:S@1 r:R@2 r:Q@1") == ["e +B@2"]


def test_a_publish_that_changes_nothing_sends_nothing_and_is_synced_at_once() -> None:
    talk = started()
    assert talk.publish(WHOLE) == []
    assert talk.synced


def test_a_route_moves_to_a_new_cluster_after_it_is_warm_and_the_old_one_goes_last() -> None:
    talk = started()
    assert talk.publish("c:B@1 e:B@1 l:L@1 s:S@1 r:R@2") == ["c +B@1"]
    assert talk.says("e", "+B") == ["e +B@1"], "Envoy acknowledges the cluster only when it is warm"
    assert talk.acks("c") == []
    assert talk.acks("e") == ["r +R@2"]
    assert talk.acks("r") == ["c -A"]
    assert talk.says("e", "-A") == []
    assert not talk.synced
    assert talk.acks("c") == []
    assert talk.synced


def test_everything_goes_in_the_order_of_its_users() -> None:
    talk = started("c:A@1 e:A@1 l:L@1 l:M@1 s:S@1 s:T@1 r:R@1 r:Q@1")
    assert talk.publish("c:B@1 l:L@2 s:S@2 r:R@2") == ["c +B@1"]
    assert talk.acks("c") == ["l +L@2"]
    assert talk.acks("l") == ["s +S@2"]
    assert talk.acks("s") == ["r +R@2"]
    assert talk.acks("r") == ["l -M"]
    assert talk.acks("l") == ["s -T"]
    assert talk.acks("s") == ["r -Q"]
    assert talk.acks("r") == ["c -A"]
    assert talk.acks("c") == ["e -A"]
    assert not talk.synced
    assert talk.acks("e") == []
    assert talk.synced


def test_an_extension_is_told_before_the_listener_that_it_belongs_to_and_taken_away_after_it() -> None:
    """So that nobody is admitted as before by a filter chain that stays."""
    talk = started("l:L@1 l:M@1 a:A@1 a:M@1")
    assert talk.says("a", "+A +M") == ["a +A@1 +M@1"]
    talk.acks("a")
    assert talk.publish("a:A@2 l:L@2") == ["a +A@2"]
    assert talk.acks("a") == ["l +L@2"]
    assert talk.acks("l") == ["l -M"]
    assert talk.acks("l") == ["a -M"]


def test_a_changed_cluster_gets_its_endpoints_again() -> None:
    """Envoy 1.40 warms the changed cluster with them, and does not ask."""
    talk = started("c:A@1 c:B@1 e:A@1 e:B@1 r:R@1")
    assert talk.publish("c:A@2 c:B@1 e:A@1 e:B@1 r:R@2") == ["c +A@2", "e +A@1"]
    assert talk.acks("e") == []
    assert talk.acks("c") == ["r +R@2"]


def test_endpoints_on_their_way_are_sent_again_after_a_cluster_that_changed_meanwhile() -> None:
    talk = started("c:A@1 e:A@1 r:R@1")
    assert talk.publish("c:A@1 e:A@2 r:R@1") == ["e +A@2"]
    assert talk.publish("c:A@2 e:A@2 r:R@2") == []
    assert talk.acks("e") == ["c +A@2", "e +A@2"]
    assert talk.acks("c") == []
    assert talk.acks("e") == ["r +R@2"]


def test_endpoints_do_not_wait_for_a_round_to_end() -> None:
    talk = started("c:A@1 e:A@1 r:R@1")
    assert talk.publish("c:A@1 c:B@1 e:A@1 r:R@1") == ["c +B@1"]
    assert talk.publish("c:A@1 c:B@1 e:A@2 r:R@2") == ["e +A@2"]
    assert talk.acks("e") == []
    assert talk.acks("c") == ["r +R@2"]


def test_endpoints_that_never_rest_hold_up_no_route() -> None:
    talk = started("c:A@1 e:A@1 r:R@1")
    assert talk.publish("c:A@1 e:A@2 r:R@2") == ["e +A@2"]
    assert talk.publish("c:A@1 e:A@3 r:R@3") == []
    assert talk.acks("e") == ["e +A@3", "r +R@2"]
    assert talk.publish("c:A@1 e:A@4 r:R@4") == []
    assert talk.acks("r") == []
    assert talk.acks("e") == ["e +A@4"]
    assert talk.publish("c:A@1 e:A@5 r:R@5") == []
    assert talk.acks("e") == ["e +A@5", "r +R@4"]


def test_a_round_keeps_the_endpoints_of_its_own_snapshot() -> None:
    """The newest snapshot has dropped a cluster that this round is still making."""
    talk = started("c:A@1 e:A@1 r:R@1")
    assert talk.publish("c:A@1 c:B@1 e:A@1 e:B@1 r:R@2") == ["c +B@1"]
    assert talk.publish("c:A@1 e:A@1 r:R@3") == []
    assert talk.says("e", "+B") == ["e +B@1"]
    assert talk.acks("c") == []
    assert talk.acks("e") == ["r +R@2"]
    assert talk.acks("r") == ["r +R@3"]
    assert talk.acks("r") == ["c -B"]


def test_publishes_while_an_answer_is_out_become_one_to_the_newest() -> None:
    talk = started("r:R@1")
    assert talk.publish("r:R@2") == ["r +R@2"]
    for version in range(3, 50):
        assert talk.publish(f"r:R@{version}") == []
    assert talk.acks("r") == ["r +R@49"]
    assert talk.acks("r") == []
    assert talk.synced


def test_a_change_taken_back_while_an_answer_is_out_is_taken_back() -> None:
    talk = started("r:R@1")
    assert talk.publish("r:R@2") == ["r +R@2"]
    assert talk.publish("r:R@1") == []
    assert talk.acks("r") == ["r +R@1"]


@pytest.mark.parametrize("nonce", ["0", "999", "nonsense"])
def test_answers_with_a_stale_nonce_are_ignored(nonce: str) -> None:
    talk = started("r:R@1")
    assert talk.publish("r:R@2") == ["r +R@2"]
    assert talk.tell("r", nonce=nonce) is None
    assert talk.tell("r", nonce=nonce, error="no") is None
    assert talk.hears() == []
    assert not talk.synced


def test_a_subscription_counts_whatever_its_nonce() -> None:
    talk = started("r:R@1 r:Q@1")
    assert talk.says("r", "+Q -R", nonce="999") == ["r +Q@1"]


def test_a_proxy_that_does_not_ask_for_endpoints_is_not_waited_for() -> None:
    talk = started("c:A@1 r:R@1")
    assert talk.publish("c:A@1 c:B@1 e:B@1 r:R@2") == ["c +B@1"]
    assert talk.acks("c") == ["r +R@2"]


def test_answers_are_events_with_names_and_latency() -> None:
    talk = started("c:A@1")
    talk.publish("c:A@2 c:B@1")
    talk.now += 0.25
    accepted = talk.tell("c", nonce=talk.nonces["c"])
    assert accepted == Accepted(type_url=CLUSTER, names=("A", "B"), removed=(), latency=0.25)
    talk.publish("c:A@3 c:B@1")
    talk.now += 0.5
    rejected = talk.tell("c", nonce=talk.nonces["c"], error="bad")
    assert rejected == Rejected(type_url=CLUSTER, names=("A",), reason="bad", latency=0.5)


# Rejections


def test_what_was_refused_is_not_sent_again_until_it_changes() -> None:
    talk = started("r:R@1 r:Q@1")
    assert talk.publish("r:R@2 r:Q@1") == ["r +R@2"]
    assert talk.nacks("r", "bad") == []
    assert talk.synced, "a rejection is an answer"
    assert talk.refused() == ["r:R@2 bad"]
    assert talk.publish("r:R@2 r:Q@2") == ["r +Q@2"]
    assert talk.acks("r") == []
    assert talk.refused() == ["r:R@2 bad"]
    assert talk.publish("r:R@3 r:Q@2") == ["r +R@3"]
    assert talk.refused() == []
    assert talk.acks("r") == []


def test_going_back_to_the_last_good_version_sends_nothing_and_ends_the_rejection() -> None:
    talk = started("r:R@1")
    talk.publish("r:R@2")
    assert talk.nacks("r", "bad") == []
    assert talk.publish("r:R@1") == []
    assert talk.synced
    assert talk.refused() == []


def test_a_rejected_cluster_opens_the_gate_and_other_types_go_on() -> None:
    talk = started("c:A@1 e:A@1 r:R@1")
    assert talk.publish("c:A@1 c:B@1 e:A@1 e:B@1 r:R@2") == ["c +B@1"]
    assert talk.nacks("c", "Error adding/updating cluster(s) B: no") == ["r +R@2"]


def test_the_others_of_a_rejected_response_are_sent_again() -> None:
    """Envoy takes clusters one by one, and does not note the versions of those it took."""
    talk = started("c:A@1 c:B@1 c:C@1")
    assert talk.publish("c:A@2 c:B@2 c:C@1") == ["c +A@2 +B@2"]
    assert talk.nacks("c", "Error adding/updating cluster(s) B: no") == ["c +A@2"]
    assert talk.acks("c") == []
    assert talk.refused() == ["c:B@2 Error adding/updating cluster(s) B: no"]


def test_the_others_of_a_rejected_response_are_taken_back_if_they_were() -> None:
    talk = started("c:A@1 c:B@1")
    talk.publish("c:A@2 c:B@2")
    talk.publish("c:A@1 c:B@1")
    assert talk.nacks("c", "Error adding/updating cluster(s) B: no") == ["c +A@2"]
    assert talk.acks("c") == ["c +A@1"]
    assert talk.acks("c") == []
    assert talk.synced


def test_endpoints_of_a_rejected_response_are_sent_again_even_if_taken_back() -> None:
    talk = started("e:A@1 e:B@1")
    assert talk.publish("e:A@2 e:B@2") == ["e +A@2 +B@2"]
    assert talk.publish("e:A@1 e:B@1") == []
    assert talk.nacks("e", "Unexpected EDS cluster (expecting B): C") == ["e +A@1"]


def test_nothing_is_taken_from_under_the_last_good_version_of_what_is_refused() -> None:
    talk = started("c:A@1 r:R@1 r:Q@1 l:L@1 l:M@1")
    assert talk.publish("c:B@1 r:R@2 l:L@1") == ["c +B@1"]
    assert talk.acks("c") == ["r +R@2"]
    assert talk.nacks("r", "bad") == ["l -M"], "listeners may go, the cluster and the route may not"
    assert talk.acks("l") == []
    assert talk.synced
    assert talk.publish("c:B@1 r:R@3 l:L@1") == ["r +R@3"]
    assert talk.acks("r") == ["r -Q"]
    assert talk.acks("r") == ["c -A"]


def test_what_was_refused_and_is_gone_is_removed_all_the_same() -> None:
    """Envoy may have taken it: it says no in one word for a whole response."""
    talk = started("c:A@1")
    talk.publish("c:A@1 c:B@1 c:C@1")
    talk.publish("c:A@1")
    assert talk.nacks("c", "no") == ["c +B@1"], "the round goes on, with fewer at a time"
    assert talk.nacks("c", "no") == ["c +C@1"]
    assert talk.acks("c") == ["c -B -C"]
    assert talk.acks("c") == []


def test_a_reason_that_names_nobody_is_narrowed_down() -> None:
    names = "ABCDEFGH"
    talk = started("r:A@1 " + " ".join(f"r:{name}@1" for name in names[1:]))
    heard = talk.publish(" ".join(f"r:{name}@2" for name in names))
    sent = 0
    while heard:
        sent += 1
        assert len(heard) == 1
        heard = talk.nacks("r", "regex") if "+F@2" in heard[0] else talk.acks("r")
    assert talk.refused() == ["r:F@2 regex"]
    assert sent <= 10
    assert talk.synced


def test_a_whole_response_that_is_bad_ends_in_each_refused_once() -> None:
    talk = started("c:A@1")
    heard = talk.publish("c:A@2 c:B@2 c:C@2 c:D@2")
    count = 0
    while heard:
        count += 1
        heard = talk.nacks("c", "no")
    assert [line[:5] for line in talk.refused()] == ["c:A@2", "c:B@2", "c:C@2", "c:D@2"]
    assert count <= 7
    assert talk.synced


def test_a_rejected_removal_is_not_repeated() -> None:
    talk = started("l:L@1 l:M@1")
    assert talk.publish("l:L@1") == ["l -M"]
    assert talk.nacks("l", "no") == []
    assert talk.synced


def test_what_was_refused_is_tried_once_more_when_something_of_its_type_is_gone() -> None:
    """A listener may have been refused for the address of one that is removed with the same change."""
    talk = started("l:old@1")
    assert talk.publish("l:new@1") == ["l +new@1"]
    assert talk.nacks("l", "new: address in use") == ["l -old"]
    assert talk.acks("l") == ["l +new@1"]
    assert talk.nacks("l", "new: address in use") == []
    assert talk.synced


# Coming back


def test_a_proxy_that_comes_back_with_everything_is_sent_nothing() -> None:
    talk = Talk(WHOLE)
    heard = talk.says("c", "A@1") + talk.says("e", "+A A@1") + talk.says("l", "L@1")
    heard += talk.says("s", "S@1") + talk.says("r", "+R R@1")
    assert heard == []
    assert talk.synced


def test_a_proxy_that_comes_back_is_sent_what_changed_in_the_right_order() -> None:
    """Its routes still name the cluster that is gone: it goes last, though clusters are told first."""
    talk = Talk("c:B@1 e:B@1 l:L@1 s:S@1 r:R@2")
    assert talk.says("c", "A@1") == ["c +B@1"]
    assert talk.says("e", "+A A@1") == []
    assert talk.says("l", "L@1") == []
    assert talk.says("s", "S@1") == []
    assert talk.says("r", "+R R@1") == []
    assert talk.says("e", "+B") == ["e +B@1"]
    assert talk.acks("c") == []
    assert talk.acks("e") == ["r +R@2"]
    assert talk.acks("r") == ["c -A"]
    assert talk.acks("c", "") == ["e -A"]


def test_nothing_is_removed_from_a_proxy_that_has_not_yet_told_its_routes() -> None:
    talk = Talk("c:B@1 l:L@1 r:R@2")
    assert talk.says("c", "A@1 B@1") == []
    assert talk.says("l", "L@1") == []
    assert talk.says("r", "+R R@1") == ["r +R@2"]
    assert talk.acks("r") == ["c -A"]


def test_a_proxy_that_comes_back_is_not_synced_before_it_told_its_endpoints() -> None:
    talk = Talk("c:A@1 e:A@2")
    assert talk.says("c", "A@1") == []
    assert not talk.synced
    assert talk.says("e", "+A A@1") == ["e +A@2"]
    assert not talk.synced
    assert talk.acks("e") == []
    assert talk.synced


def test_status_counts_what_is_wanted_acknowledged_and_sent() -> None:
    talk = started("c:A@1 c:B@1 e:A@1")
    talk.publish("c:A@2 c:B@1 e:A@1")
    clusters, endpoints = talk.stream.status()[:2]
    assert (clusters.wanted, clusters.acknowledged, clusters.sent, clusters.unanswered) == (2, 1, 3, True)
    assert (endpoints.wanted, endpoints.acknowledged, endpoints.sent) == (1, 0, 2)
    talk.now += 2
    talk.acks("c")
    talk.acks("e")
    clusters, endpoints = talk.stream.status()[:2]
    assert (clusters.acknowledged, clusters.latency, clusters.rejections) == (2, 2, ())
    assert endpoints.acknowledged == 1


def test_the_runtime_comes_before_anything_else_is_asked_for() -> None:
    talk = Talk("t:T@1 " + WHOLE)
    assert talk.says("t", "+T") == ["t +T@1"]
    assert not talk.synced
    assert talk.acks("t") == []
    assert not talk.synced, "all the rest is about to be asked for"
    assert talk.says("c") == ["c +A@1"]


def test_a_changed_runtime_is_all_that_is_sent_and_waited_for() -> None:
    talk = started()
    talk.says("t", "+T")
    talk.acks("t")
    assert talk.publish("t:T@2 " + WHOLE) == ["t +T@2"]
    assert not talk.synced
    assert talk.acks("t") == []
    assert talk.synced


def test_a_runtime_waits_for_no_cluster_and_holds_none_up() -> None:
    talk = started()
    talk.says("t", "+T")
    talk.acks("t")
    assert talk.publish("t:T@2 " + WHOLE.replace("c:A@1", "c:A@2")) == ["t +T@2", "c +A@2", "e +A@1"]
    talk.acks("t")
    assert talk.publish("t:T@3 " + WHOLE.replace("c:A@1", "c:A@3")) == ["t +T@3"], (
        "the cluster is still warming"
    )
    talk.acks("e")
    assert talk.acks("c") == ["c +A@3", "e +A@1"], "nothing waits for an answer about the runtime"
    talk.acks("e")
    talk.acks("c")
    assert not talk.synced
    talk.acks("t")
    assert talk.synced


def test_a_refused_runtime_keeps_nothing() -> None:
    talk = started()
    talk.says("t", "+T")
    talk.acks("t")
    assert talk.publish("t:T@2 " + WHOLE) == ["t +T@2"]
    assert talk.nacks("t", "no") == []
    assert talk.synced
    assert talk.refused() == ["t:T@2 no"]
    assert talk.publish("t:T@2") == ["l -L"], "what is gone is taken away all the same"
    assert talk.acks("l") == ["s -S"]
