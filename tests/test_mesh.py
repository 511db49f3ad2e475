"""Indices of the face mesh, checked against MediaPipe's own edges."""

import pytest

from mediakit import mesh


def test_groups_are_distinct_and_symmetric():
    assert [len(g) for g in mesh.SEMANTIC_GROUPS.values()] == [10, 16, 13, 20, 17, 10]
    assert len(set(mesh.SEMANTIC)) == len(mesh.SEMANTIC) == 86
    assert len(set(mesh.RIGID)) == len(mesh.RIGID)
    for group in (mesh.SEMANTIC, mesh.RIGID, mesh.EYE_CORNERS):
        assert {mesh.MIRROR[i] for i in group} == set(group)
    assert [mesh.MIRROR[mesh.MIRROR[i]] for i in range(mesh.N_POINTS)] == list(range(mesh.N_POINTS))
    assert {i for i in range(mesh.N_POINTS) if mesh.MIRROR[i] == i} == set(mesh.MIDLINE)


def test_mirror_maps_mediapipes_own_edges_onto_each_other():
    edges = pytest.importorskip("mediapipe.python.solutions.face_mesh_connections")

    def mirrored(name: str) -> set:
        return {frozenset(mesh.MIRROR[i] for i in edge) for edge in getattr(edges, name)}

    def plain(name: str) -> set:
        return {frozenset(edge) for edge in getattr(edges, name)}

    for right, left in (("RIGHT_EYE", "LEFT_EYE"), ("RIGHT_EYEBROW", "LEFT_EYEBROW"), ("RIGHT_IRIS", "LEFT_IRIS")):
        assert mirrored(f"FACEMESH_{right}") == plain(f"FACEMESH_{left}")
    for whole in ("FACEMESH_LIPS", "FACEMESH_NOSE", "FACEMESH_FACE_OVAL"):
        assert mirrored(whole) == plain(whole)
    # Six quads of 1322 edges are cut along the other diagonal on the left.
    assert len(mirrored("FACEMESH_TESSELATION") - plain("FACEMESH_TESSELATION")) == 6
    lips = {i for edge in edges.FACEMESH_LIPS for i in edge}
    assert set(mesh.SEMANTIC_GROUPS["lips"]) <= lips
