/* The tables of the core entities, one per file, and their transformations' helpers. */
#ifndef SB_ENTITIES_INT_H
#define SB_ENTITIES_INT_H

#include "core/base/json.h"
#include "core/entities/entities.h"
#include "silverback/typedefs.h"

extern const struct sb_schema_def sb_entity_workspaces, sb_entity_consumers, sb_entity_certificates, sb_entity_services, sb_entity_routes,
    sb_entity_snis, sb_entity_upstreams, sb_entity_targets, sb_entity_plugins, sb_entity_ca_certificates, sb_entity_vaults,
    sb_entity_key_sets, sb_entity_keys, sb_entity_tags, sb_entity_clustering_data_planes, sb_entity_parameters, sb_entity_filter_chains,
    sb_entity_consumer_groups, sb_entity_consumer_group_consumers;

#endif
