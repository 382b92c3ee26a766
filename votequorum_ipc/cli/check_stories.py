"""Stories of a check, shown in the model, written for corosync-vqsim, or run there."""

from __future__ import annotations

import click

from ..check import Story, replay
from ..check.story import depends_on_who_speaks_first
from ..check.vqsim_script import commands
from ..cluster import Cluster, ClusterConfig
from .confirm import quorate_in_vqsim
from .vqsim_process import Stuck, why_unavailable


def print_replay(config: ClusterConfig, story: Story) -> None:
    """Each step, followed by a line for each node, as `serve` shows them."""
    for number, (step, cluster) in enumerate(replay(config, story)):
        click.echo(f"{number}. {step.text}")
        for nodeid in config.nodeids:
            click.echo(f"   {_node(cluster, nodeid)}")


def print_vqsim(_config: ClusterConfig, story: Story) -> None:
    """The input for corosync-vqsim. Lines with # are for the reader."""
    for step, typed in commands(story):
        click.echo(f"# {step.text}")
        for command in typed:
            click.echo(str(command))


def confirmed(config: ClusterConfig, name: str, story: Story) -> bool:
    """Run a story in corosync-vqsim and print the result. Returns False if corosync disagrees."""
    if why := why_unavailable():
        click.echo(f"{name}: not confirmed: {why}", err=True)
        return True
    try:
        quorate = quorate_in_vqsim(config, story)
    except Stuck as error:
        click.echo(f"{name}: not confirmed: corosync-vqsim did not answer: {error}", err=True)
        return True
    if quorate[-1] == story[-1].quorate:
        click.echo(f"{name}: corosync-vqsim confirms it")
        return True
    if depends_on_who_speaks_first(config, story):
        click.echo(f"{name}: not confirmed: it depends on which node speaks first, and other nodes did")
        return True
    said, expected = (
        " ".join(map(str, sorted(nodes))) or "no node" for nodes in (quorate[-1], story[-1].quorate)
    )
    click.echo(f"{name}: corosync-vqsim DISAGREES: at the end {said} quorate, not {expected}")
    return False


def _node(cluster: Cluster, nodeid: int) -> str:
    node = cluster.nodes.get(nodeid)
    if node is None:
        return f"node {nodeid}  down"
    quorate = "quorate" if node.quorate else "NOT QUORATE"
    state = node.votequorum
    members = " ".join(map(str, node.members))
    waits = "  waits for all nodes" if state.wait_for_all_status and not node.quorate else ""
    return (
        f"node {nodeid}  {quorate:11}  quorum {state.quorum}  ring {node.ring_id}  members {members}{waits}"
    )
