//! What another replica asks of the items here: an adapter between the wire and the queries.

use super::wire;
use crate::app::App;
use crate::grpc::reply;
use crate::query::{self, QueryError};
use coterie_protocol::internal::item_shards_server::{ItemShards, ItemShardsServer};
use coterie_protocol::internal::{
    FindItemRequest, FindItemResponse, NearestItemsRequest, NearestItemsResponse, PlacedItem,
};
use std::sync::Arc;
use tonic::{Request, Response, Status};

/// The service for other replicas.
pub(crate) fn service(app: Arc<App>) -> ItemShardsServer<impl ItemShards> {
    ItemShardsServer::new(Service { app })
}

struct Service {
    app: Arc<App>,
}

impl Service {
    fn find(&self, request: FindItemRequest) -> Result<FindItemResponse, QueryError> {
        let FindItemRequest { shard, id } = request;
        let served = self.app.hot.get();
        wire::meant(&served, shard)?;
        let item = query::find(&served, &id)?;
        let item = item.map(|(place, vector)| PlacedItem { place: Some(wire::spell(place)), vector });
        Ok(FindItemResponse { item })
    }

    async fn nearest(&self, request: NearestItemsRequest) -> Result<NearestItemsResponse, QueryError> {
        let served = self.app.hot.get();
        let search = wire::search(&served, request)?;
        let identity = served.items().ok_or(QueryError::NoItems)?.identity().to_owned();
        let found = self.app.compute.part(&served, search).await?;
        Ok(NearestItemsResponse { items: found.into_iter().map(wire::near).collect(), identity })
    }
}

#[tonic::async_trait]
impl ItemShards for Service {
    async fn find_item(&self, request: Request<FindItemRequest>) -> Result<Response<FindItemResponse>, Status> {
        reply(self.find(request.into_inner()))
    }

    async fn nearest_items(
        &self,
        request: Request<NearestItemsRequest>,
    ) -> Result<Response<NearestItemsResponse>, Status> {
        reply(self.nearest(request.into_inner()).await)
    }
}
