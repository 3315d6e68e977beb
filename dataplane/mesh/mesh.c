/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "dataplane/mesh/mesh.h"

void
lp_mesh_init(struct lp_mesh *mesh, struct lp_fabric *fabric, uint32_t self)
{
    LP_ASSERT(self < fabric->shard_count);
    mesh->fabric = fabric;
    mesh->self = self;
    mesh->count = fabric->shard_count;
    mesh->sent = 0;
    mesh->full = 0;
    for (uint32_t i = 0; i < mesh->count; i++) {
        mesh->port[i] = (struct lp_mesh_port){
            .out = fabric->ring[self][i],
            .in = fabric->ring[i][self],
            .credits = LP_MESH_CREDITS,
            .owed = 0,
        };
    }
}

static inline void
mesh_stage(struct lp_mesh *mesh, uint32_t to, const struct lp_mesh_record *record)
{
    struct lp_record *slot = lp_ring_slot(mesh->port[to].out);
    LP_ASSERT(slot != NULL);
    memcpy(slot, record, sizeof(*slot));
    mesh->sent++;
}

bool
lp_mesh_request(struct lp_mesh *mesh, uint32_t to, const struct lp_mesh_record *record)
{
    if (LP_UNLIKELY(lp_mesh_request_room(mesh, to) == 0)) {
        mesh->full++;
        return false;
    }
    mesh->port[to].credits--;
    mesh_stage(mesh, to, record);
    return true;
}

bool
lp_mesh_news(struct lp_mesh *mesh, uint32_t to, const struct lp_mesh_record *record)
{
    if (LP_UNLIKELY(lp_mesh_news_room(mesh, to) == 0)) {
        mesh->full++;
        return false;
    }
    LP_ASSERT(mesh->port[to].owed >= record->credits);
    mesh->port[to].owed -= record->credits;
    mesh_stage(mesh, to, record);
    return true;
}

void
lp_mesh_reply(struct lp_mesh *mesh, uint32_t to, const struct lp_mesh_record *record)
{
    LP_ASSERT(mesh->port[to].owed >= record->credits);
    mesh->port[to].owed -= record->credits;
    mesh_stage(mesh, to, record);
}

const struct lp_mesh_record *
lp_mesh_take(struct lp_mesh *mesh, uint32_t from)
{
    const struct lp_record *slot = lp_ring_take(mesh->port[from].in);
    if (!slot) {
        return NULL;
    }
    const struct lp_mesh_record *record = (const struct lp_mesh_record *)(const void *)slot;
    if (record->credits > 0) {
        mesh->port[from].credits += record->credits;
        LP_ASSERT(mesh->port[from].credits <= LP_MESH_CREDITS);
    }
    return record;
}

void
lp_mesh_give_back(struct lp_mesh *mesh, uint32_t from)
{
    lp_ring_give_back(mesh->port[from].in);
}

bool
lp_mesh_staged(const struct lp_mesh *mesh, uint32_t to)
{
    const struct lp_ring *out = mesh->port[to].out;
    return out->staged != out->tail;
}

bool
lp_mesh_publish(struct lp_mesh *mesh, uint32_t to)
{
    return lp_ring_publish(mesh->port[to].out);
}

bool
lp_mesh_own_empty(const struct lp_mesh *mesh)
{
    return !lp_mesh_staged(mesh, mesh->self) && !lp_ring_waiting(mesh->port[mesh->self].in);
}

uint32_t
lp_mesh_own_end(const struct lp_mesh *mesh)
{
    return mesh->port[mesh->self].out->staged;
}

bool
lp_mesh_own_taken(const struct lp_mesh *mesh, uint32_t end)
{
    return (int32_t)(mesh->port[mesh->self].in->taken - end) >= 0;
}

bool
lp_mesh_waiting(const struct lp_mesh *mesh)
{
    for (uint32_t i = 0; i < mesh->count; i++) {
        if (lp_ring_waiting(mesh->port[i].in)) {
            return true;
        }
    }
    return false;
}
